//! Field names that mean something to the gateway, told apart once per field, and what may pass through it.

/// A field name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Name {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    Upgrade,
    Authorization,
    Cookie,
    ApiKey,
    RequestId,
    OtherRequestId,
    ClientKey,
    AcceptEncoding,
    Origin,
    PreflightMethod,
    PreflightHeaders,
    ForwardedFor,
    RealIp,
    CloudIp,
    Forwarded,
    TraceParent,
    TraceState,
    ContentType,
    ContentEncoding,
    CacheControl,
    IfNoneMatch,
    IsTest,
    /// Of a switch to WebSocket.
    WebSocket,
    UserAgent,
    /// Passes upstream without being listed.
    Plain,
    /// Describes an answer's body and always passes to the client.
    Describes,
    /// Ends here in both directions.
    HopByHop,
    /// A credential of the gateway, or a field only the gateway may set.
    Owned,
    /// Made by the gateway for clients; an upstream's does not pass.
    Ours,
    Other,
}

/// How many names a head can be asked for.
pub(crate) const NAMES: usize = Name::Other as usize + 1;

/// By length, so that a name is held against few others.
const TABLE: [&[(&str, Name)]; 33] = {
    let mut table: [&[(&str, Name)]; 33] = [&[]; 33];
    table[2] = &[("te", Name::HopByHop)];
    table[4] =
        &[("host", Name::Host), ("etag", Name::Describes), ("vary", Name::Describes), ("date", Name::Other)];
    table[6] = &[
        ("cookie", Name::Cookie),
        ("origin", Name::Origin),
        ("expect", Name::Expect),
        ("accept", Name::Plain),
    ];
    table[7] = &[("upgrade", Name::Upgrade), ("trailer", Name::HopByHop), ("api-key", Name::Owned)];
    table[8] = &[("location", Name::Describes)];
    table[9] = &[
        ("x-api-key", Name::ApiKey),
        ("x-real-ip", Name::RealIp),
        ("forwarded", Name::Forwarded),
        ("x-is-test", Name::IsTest),
    ];
    table[10] = &[
        ("connection", Name::Connection),
        ("user-agent", Name::UserAgent),
        ("client-key", Name::ClientKey),
        ("request-id", Name::OtherRequestId),
        ("request_id", Name::Ours),
        ("set-cookie", Name::Owned),
        ("soapaction", Name::Plain),
        ("keep-alive", Name::HopByHop),
        ("csrf-token", Name::Owned),
        ("tracestate", Name::TraceState),
    ];
    table[11] = &[("traceparent", Name::TraceParent)];
    table[12] = &[
        ("content-type", Name::ContentType),
        ("x-request-id", Name::RequestId),
        ("x-csrf-token", Name::Owned),
        ("x-user-email", Name::Owned),
    ];
    table[13] = &[
        ("authorization", Name::Authorization),
        ("if-none-match", Name::IfNoneMatch),
        ("content-range", Name::Describes),
        ("last-modified", Name::Describes),
        ("cache-control", Name::CacheControl),
    ];
    table[14] = &[
        ("content-length", Name::ContentLength),
        ("x-doorman-user", Name::Owned),
        ("x-gateway-time", Name::Ours),
        ("x-backend-time", Name::Ours),
    ];
    table[15] = &[("accept-encoding", Name::AcceptEncoding), ("x-forwarded-for", Name::ForwardedFor)];
    table[16] = &[
        ("content-encoding", Name::ContentEncoding),
        ("content-language", Name::Describes),
        ("cf-connecting-ip", Name::CloudIp),
        ("proxy-connection", Name::HopByHop),
        ("www-authenticate", Name::Owned),
    ];
    table[17] = &[("transfer-encoding", Name::TransferEncoding), ("sec-websocket-key", Name::WebSocket)];
    table[20] = &[("sec-websocket-accept", Name::WebSocket)];
    table[21] = &[("sec-websocket-version", Name::WebSocket)];
    table[22] = &[("sec-websocket-protocol", Name::WebSocket)];
    table[24] = &[("sec-websocket-extensions", Name::WebSocket)];
    table[18] = &[("proxy-authenticate", Name::HopByHop)];
    table[19] = &[("proxy-authorization", Name::HopByHop), ("content-disposition", Name::Describes)];
    table[29] = &[("access-control-request-method", Name::PreflightMethod)];
    table[30] = &[("access-control-request-headers", Name::PreflightHeaders)];
    table
};

impl Name {
    /// The name these bytes spell, in any case.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let candidates = TABLE.get(bytes.len()).copied().unwrap_or_default();
        let found = candidates.iter().find(|(text, _)| text.as_bytes().eq_ignore_ascii_case(bytes));
        found.map_or(Self::Other, |(_, name)| *name)
    }

    /// Passes upstream without being listed (spec/doorman.md 5.5).
    pub(crate) fn always_up(self) -> bool {
        matches!(self, Self::Plain | Self::ContentType | Self::UserAgent | Self::AcceptEncoding)
    }

    /// Never passes upstream as it came, listed or not.
    pub(crate) fn never_up(self) -> bool {
        self.hop_by_hop()
            || matches!(
                self,
                Self::Owned
                    | Self::Ours
                    | Self::TraceParent
                    | Self::TraceState
                    | Self::Host
                    | Self::Authorization
                    | Self::Cookie
                    | Self::ApiKey
                    | Self::RequestId
                    | Self::Expect
            )
    }

    /// Ends here, in both directions (RFC 9110 7.6.1); framing too: each side of a proxy makes its own.
    pub(crate) fn hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::HopByHop | Self::Connection | Self::Upgrade | Self::TransferEncoding | Self::ContentLength
        )
    }

    /// Never passes to the client, listed or not.
    pub(crate) fn never_down(self) -> bool {
        self.hop_by_hop() || matches!(self, Self::Ours | Self::RequestId)
    }

    /// Passes to the client without being listed: it describes the body.
    pub(crate) fn always_down(self) -> bool {
        matches!(self, Self::Describes | Self::ContentType | Self::ContentEncoding | Self::CacheControl)
    }
}

/// The names that one message's `Connection` adds to those that end here.
pub(crate) fn named_by<'v>(mut connection: impl Iterator<Item = &'v [u8]>, name: &[u8]) -> bool {
    connection
        .any(|value| value.split(|byte| *byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_at_its_length_and_is_found_in_any_case() {
        for (length, row) in TABLE.iter().enumerate() {
            for (text, name) in *row {
                assert_eq!(text.len(), length, "{text}");
                assert_eq!(Name::of(text.to_uppercase().as_bytes()), *name, "{text}");
            }
        }
        assert_eq!(Name::of(b"x-else"), Name::Other);
        assert_eq!(Name::of(&[b'x'; 400]), Name::Other);
    }

    #[test]
    fn fixed_and_named_fields_end() {
        let connection = [b"close, X-Inner".as_slice(), b"Keep-Alive"];
        assert!(
            named_by(connection.into_iter(), b"x-inner") && !named_by(connection.into_iter(), b"x-other")
        );
        for name in ["te", "Connection", "keep-alive", "content-length", "proxy-authorization"] {
            assert!(Name::of(name.as_bytes()).hop_by_hop(), "{name}");
        }
        assert!(!Name::of(b"content-type").hop_by_hop());
    }
}
