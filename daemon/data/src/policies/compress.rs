//! Compression of answers: which answers, in which coding (RFC 9110 12.5.3). An answer that has a coding already, that
//! must not be transformed, that is a stream of events or that would not get smaller stays as it is.

pub(crate) mod encoder;

use gatehouse_corridor::snapshot::limits::Compression;
use std::borrow::Cow;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// `gzip`.
    Gzip,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// Value of `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// What a client takes, thousandths of weight; of equal weights the first in [`Accepted::best`]'s order wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Accepted {
    gzip: Option<u16>,
    brotli: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

/// What is to be done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The coding; then `Content-Length` and `Accept-Ranges` go, and a strong `ETag` becomes [`weak`].
    pub(crate) coding: Option<Coding>,
    /// Another client might get another coding: [`vary`] is needed.
    pub(crate) varies: bool,
}

impl Verdict {
    const AS_IT_IS: Self = Self { coding: None, varies: false };
}

/// What of an answer decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<F> {
    /// Status.
    pub(crate) status: u16,
    /// Length of the body, if it is known.
    pub(crate) length: Option<u64>,
    /// Its fields, names in any case.
    pub(crate) fields: F,
}

/// Compiled rule of one API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compress {
    level: u32,
    least_bytes: u64,
}

impl Compress {
    /// `None`: nothing is compressed. `own` is what the API says.
    ///
    /// # Errors
    /// The field and what was expected.
    pub(crate) fn compile(rules: &Compression, own: Option<bool>) -> Result<Option<Self>, String> {
        if !(1..=9).contains(&rules.level) {
            return Err(format!("COMPRESSION_LEVEL: {}: expected 1 to 9", rules.level));
        }
        let compress = Self { level: rules.level, least_bytes: rules.least_bytes };
        Ok(own.unwrap_or(rules.enabled).then_some(compress))
    }

    /// Whether a body of this length is not worth it.
    pub(crate) fn too_short(&self, length: Option<u64>) -> bool {
        length.is_some_and(|length| length < self.least_bytes)
    }

    /// 1 to 9.
    pub(crate) fn level(&self) -> u32 {
        self.level
    }

    /// Decides about one answer; `accept` are the values of the request's `Accept-Encoding`.
    pub(crate) fn decide<'a>(
        &self,
        accept: impl Iterator<Item = &'a str>,
        answer: Answer<impl Iterator<Item = (&'a str, &'a [u8])>>,
    ) -> Verdict {
        // 206 is a part of a representation; the others have no body.
        let has_body = (200..600).contains(&answer.status) && ![204, 205, 206, 304].contains(&answer.status);
        if !has_body || answer.length == Some(0) || !may_be_coded(answer.fields) {
            return Verdict::AS_IT_IS;
        }
        let accepted = Accepted::parse(accept);
        let short = answer.length.is_some_and(|length| length < self.least_bytes);
        if short && accepted.takes_plain() {
            return Verdict::AS_IT_IS;
        }
        // To HEAD as to GET, so that both say the same (RFC 9110 9.3.2).
        Verdict { coding: accepted.best(), varies: true }
    }
}

/// By type and by what the upstream says of it.
fn may_be_coded<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    let mut typed = false;
    for (name, value) in fields {
        let text = value.trim_ascii();
        // Digests are of the body as it is sent.
        let fixed = ["content-range", "content-md5", "content-digest", "repr-digest", "digest"];
        if fixed.iter().any(|fixed| name.eq_ignore_ascii_case(fixed)) {
            return false;
        }
        if name.eq_ignore_ascii_case("content-encoding") && !text.eq_ignore_ascii_case(b"identity") {
            return false;
        }
        if name.eq_ignore_ascii_case("cache-control") {
            let mut directives = text.split(|byte| *byte == b',');
            if directives.any(|one| one.trim_ascii().eq_ignore_ascii_case(b"no-transform")) {
                return false;
            }
        }
        if name.eq_ignore_ascii_case("content-type") {
            typed = std::str::from_utf8(text).is_ok_and(is_text);
        }
    }
    typed
}

/// Types whose bodies get smaller, and that are no streams of events.
fn is_text(content_type: &str) -> bool {
    const TYPES: [&str; 10] = [
        "application/json",
        "application/javascript",
        "application/x-javascript",
        "application/xml",
        "application/graphql",
        "application/wasm",
        "application/vnd.ms-fontobject",
        "font/ttf",
        "font/otf",
        "image/bmp",
    ];
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let begins = |with: &str| essence.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    let ends = |with: &str| {
        let at = essence.len().checked_sub(with.len());
        at.and_then(|at| essence.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(with))
    };
    if begins("text/") {
        return !essence.eq_ignore_ascii_case("text/event-stream");
    }
    ends("+json") || ends("+xml") || TYPES.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

impl Accepted {
    fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut accepted = Self { gzip: None, brotli: None, zstd: None, identity: None, any: None };
        let mut alias = None;
        for item in values.flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.next().map_or(Some(1_000), weight).unwrap_or(0);
            let places = [
                ("gzip", &mut accepted.gzip),
                ("br", &mut accepted.brotli),
                ("zstd", &mut accepted.zstd),
                ("identity", &mut accepted.identity),
                ("*", &mut accepted.any),
                ("x-gzip", &mut alias),
            ];
            let place = places.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
            if let Some((_, place)) = place {
                *place = Some(weight);
            }
        }
        accepted.gzip = accepted.gzip.or(alias);
        accepted
    }

    /// The heaviest; zstd before br before gzip, by what a byte saved costs.
    fn best(&self) -> Option<Coding> {
        let codings = [(Coding::Gzip, self.gzip), (Coding::Brotli, self.brotli), (Coding::Zstd, self.zstd)];
        let weighed = codings.map(|(coding, weight)| (coding, weight.or(self.any).unwrap_or(0)));
        let best = weighed.into_iter().max_by_key(|(_, weight)| *weight)?;
        let plain = self.identity.unwrap_or(0);
        (best.1 > 0 && best.1 >= plain).then_some(best.0)
    }

    fn takes_plain(&self) -> bool {
        self.identity.or(self.any).is_none_or(|weight| weight > 0)
    }
}

/// `q=0.5` in thousandths.
fn weight(text: &str) -> Option<u16> {
    let (name, value) = text.split_once('=')?;
    let value = value.trim_start();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !name.trim_end().eq_ignore_ascii_case("q") || !digits {
        return None;
    }
    let tens = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let thousandths = tens.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

/// A coded body is another sequence of bytes, so its tag is a weak one (RFC 9110 8.8.1).
pub(crate) fn weak(etag: &str) -> Cow<'_, str> {
    if etag.starts_with("W/") { Cow::Borrowed(etag) } else { Cow::Owned(format!("W/{etag}")) }
}

/// The value of a further `Vary` field, unless those there say it already.
pub(crate) fn vary<'a>(values: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim);
    let said = names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding"));
    (!said).then_some("Accept-Encoding")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compress() -> Compress {
        Compress { level: 1, least_bytes: 500 }
    }

    fn decide(accept: &[&str], status: u16, length: Option<u64>, fields: &[(&str, &str)]) -> Verdict {
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        compress().decide(accept.iter().copied(), Answer { status, length, fields })
    }

    #[test]
    fn codings_are_negotiated() {
        for (accept, expected) in [
            (vec![], None),
            (vec![""], None),
            (vec!["gzip"], Some("gzip")),
            (vec!["X-GZip"], Some("gzip")),
            (vec!["gzip, deflate, br, zstd"], Some("zstd")),
            (vec!["gzip, deflate", "br"], Some("br")),
            (vec!["gzip;q=1.0, br;q=0.5"], Some("gzip")),
            (vec!["gzip; q=0.5, br ; Q=0.501"], Some("br")),
            (vec!["gzip;q=0"], None),
            (vec!["gzip;q=0.000, br;q=0.001"], Some("br")),
            (vec!["*"], Some("zstd")),
            (vec!["*;q=0.5, zstd;q=0, gzip"], Some("gzip")),
            (vec!["*;q=0"], None),
            (vec!["identity"], None),
            (vec!["identity;q=1, gzip;q=0.5"], None),
            (vec!["identity;q=0.5, gzip"], Some("gzip")),
            (vec!["deflate, compress"], None),
            (vec!["gzip;q=2"], None),
            (vec!["gzip;q=0.1234"], None),
            (vec!["gzip;q=-1, br;level=3"], None),
        ] {
            let verdict = decide(&accept, 200, None, &[("content-type", "text/html")]);
            assert_eq!(verdict.coding.map(Coding::name), expected, "{accept:?}");
            assert!(verdict.varies);
        }
    }

    #[test]
    fn answers_are_chosen() {
        let json = ("Content-Type", "application/json");
        for (status, length, fields, coded) in [
            (200, Some(500), vec![json], true),
            (200, Some(499), vec![json], false),
            (200, Some(0), vec![json], false),
            (200, None, vec![json], true),
            (503, None, vec![json], true),
            (204, None, vec![json], false),
            (206, None, vec![json], false),
            (304, None, vec![json], false),
            (101, None, vec![json], false),
            (200, None, vec![], false),
            (200, None, vec![("content-type", "text/event-stream; charset=utf-8")], false),
            (200, None, vec![("content-type", "image/png")], false),
            (200, None, vec![("content-type", "image/svg+xml")], true),
            (200, None, vec![("content-type", "application/grpc")], false),
            (200, None, vec![("content-type", "application/octet-stream")], false),
            (200, None, vec![("content-type", "application/problem+json;a=b")], true),
            (200, None, vec![json, ("Content-Encoding", "br")], false),
            (200, None, vec![json, ("Content-Encoding", "identity")], true),
            (200, None, vec![json, ("Cache-Control", "public, No-Transform")], false),
            (200, None, vec![json, ("Cache-Control", "no-transformer")], true),
            (200, None, vec![json, ("Content-Range", "bytes 0-1/2")], false),
            (200, None, vec![json, ("Repr-Digest", "sha-256=:x:")], false),
        ] {
            let verdict = decide(&["gzip"], status, length, &fields);
            assert_eq!(verdict.coding.is_some(), coded, "{status} {length:?} {fields:?}");
        }
        // Who takes no plain text gets a short body coded too.
        let verdict = decide(&["gzip, identity;q=0"], 200, Some(5), &[json]);
        assert_eq!(verdict.coding, Some(Coding::Gzip));
        assert_eq!(decide(&["identity;q=0"], 200, Some(5), &[json]).coding, None);
    }

    #[test]
    fn settings_and_apis() {
        let rules = |enabled, level| Compression { enabled, level, least_bytes: 1 };
        assert_eq!(Compress::compile(&rules(true, 9), None).unwrap().unwrap().level(), 9);
        assert!(Compress::compile(&rules(true, 1), Some(false)).unwrap().is_none());
        assert!(Compress::compile(&rules(false, 1), None).unwrap().is_none());
        assert!(Compress::compile(&rules(false, 1), Some(true)).unwrap().is_some());
        assert!(Compress::compile(&rules(true, 10), None).unwrap_err().starts_with("COMPRESSION_LEVEL"));
    }

    #[test]
    fn tags_and_vary() {
        assert_eq!(weak("\"a\""), "W/\"a\"");
        assert_eq!(weak("W/\"a\""), "W/\"a\"");
        assert_eq!(vary([].into_iter()), Some("Accept-Encoding"));
        assert_eq!(vary(["Origin, accept-encoding"].into_iter()), None);
        assert_eq!(vary(["Origin", "*"].into_iter()), None);
        assert_eq!(vary(["Origin"].into_iter()), Some("Accept-Encoding"));
    }

    proptest! {
        #[test]
        fn never_panics(accept in r"[gzip,;q=01. *br]{0,30}|\PC{0,20}", name in r"\PC{0,12}", value in any::<Vec<u8>>()) {
            let fields = [("content-type", b"text/css".as_slice()), (name.as_str(), value.as_slice())];
            let answer = Answer { status: 200, length: None, fields: fields.into_iter() };
            let verdict = compress().decide([accept.as_str()].into_iter(), answer);
            prop_assert!(verdict.coding != Some(Coding::Gzip) || accept.contains(['z', '*']));
            let _either = (weak(&accept), vary([accept.as_str()].into_iter()));
        }
    }
}
