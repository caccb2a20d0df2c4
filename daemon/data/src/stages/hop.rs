//! Hop-by-hop fields (RFC 9110 7.6.1) and framing: each side of a proxy makes its own, in both directions.

const FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What one message's `Connection` adds to the fixed fields; names in lower case.
pub(crate) struct HopByHop(Vec<String>);

impl HopByHop {
    /// Reads the values of `Connection`.
    pub(crate) fn named<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        let names = values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty());
        Self(names.map(str::to_ascii_lowercase).collect())
    }

    /// Whether a field, given in lower case, ends here.
    pub(crate) fn ends(&self, field: &str) -> bool {
        FIELDS.contains(&field) || self.0.iter().any(|name| name == field)
    }
}

#[cfg(test)]
mod tests {
    use super::HopByHop;

    #[test]
    fn fixed_and_named_fields_end() {
        let hop = HopByHop::named(["close, X-Inner", "Keep-Alive"].into_iter());
        for field in ["te", "connection", "x-inner", "keep-alive"] {
            assert!(hop.ends(field), "{field}");
        }
        assert!(!hop.ends("content-type"));
    }
}
