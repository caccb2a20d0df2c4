//! W3C Trace Context: a call goes on with its client's trace, or begins one; upstream sees a span of the gateway's own.

/// Bytes of `tracestate` that are passed on; longer ones are left out, which the trace survives.
const STATE_BYTES: usize = 1_024;
/// Members of `tracestate`.
const STATE_MEMBERS: usize = 32;
/// Bytes of a `traceparent` of version 0.
const PARENT_BYTES: usize = 55;
const SAMPLED: u8 = 1;

/// The trace of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    parent: [u8; PARENT_BYTES],
    state: Option<Box<[u8]>>,
    continued: bool,
}

impl Trace {
    /// From the values of the request's `traceparent` and `tracestate`, and chance for the ids. `sample` is what a trace
    /// that begins here says of being recorded; one that goes on says what its client said.
    pub(crate) fn next<'v>(
        parents: impl Iterator<Item = &'v [u8]>,
        states: impl Iterator<Item = &'v [u8]>,
        chance: (u128, u64),
        sample: bool,
    ) -> Self {
        let received = single(parents).and_then(parse);
        // Ids of zeros are none.
        let span = hex::<16>(u128::from(chance.1.max(1)));
        let (trace, flags, continued) = match received {
            Some((trace, flags)) => (trace, flags & SAMPLED, true),
            None => (hex::<32>(chance.0.max(1)), u8::from(sample), false),
        };
        let mut parent = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let flags = hex::<2>(u128::from(flags));
        let parts = [(3, trace.as_slice()), (36, span.as_slice()), (53, flags.as_slice())];
        for (at, part) in parts {
            if let Some(place) = parent.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
        }
        Self { parent, state: if continued { joined(states) } else { None }, continued }
    }

    /// The trace's id, 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        self.parent.get(3..35).and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default()
    }

    /// Whether the client began it.
    #[cfg(test)]
    pub(crate) fn continued(&self) -> bool {
        self.continued
    }

    /// Fields for the upstream; the client's own of these names do not go there.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let state = self.state.as_deref().map(|state| ("tracestate", state));
        std::iter::once(("traceparent", self.parent.as_slice())).chain(state)
    }
}

fn single<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
    values.next().filter(|_| values.next().is_none())
}

/// Id and flags of a `traceparent`; of a later version what version 0 has.
fn parse(value: &[u8]) -> Option<([u8; 32], u8)> {
    let text = value.trim_ascii();
    let (known, rest) = text.split_at_checked(PARENT_BYTES)?;
    let mut parts = known.split(|byte| *byte == b'-');
    let mut part = |length: usize| {
        parts.next().filter(|part| part.len() == length && part.iter().all(|byte| is_hex(*byte)))
    };
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let zeros = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let longer = match version {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    if parts.next().is_some() || !longer || zeros(trace) || zeros(span) {
        return None;
    }
    let flags = u8::from_str_radix(std::str::from_utf8(flags).ok()?, 16).ok()?;
    Some((trace.try_into().ok()?, flags))
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// The last `N` hexadecimal digits.
fn hex<const N: usize>(mut number: u128) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        let low = u8::try_from(number & 15).unwrap_or(0);
        *digit = if low < 10 { b'0' + low } else { b'a' + (low - 10) };
        number >>= 4;
    }
    digits
}

/// All values of `tracestate` as one, if they are well-formed and few.
fn joined<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<Box<[u8]>> {
    let mut whole = Vec::new();
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
        if member.is_empty() {
            continue;
        }
        let key = key_of(member)?;
        if keys.len() >= STATE_MEMBERS || keys.contains(&key) || whole.len() + member.len() > STATE_BYTES {
            return None;
        }
        keys.push(key);
        if !whole.is_empty() {
            whole.push(b',');
        }
        whole.extend_from_slice(member);
    }
    (!whole.is_empty()).then(|| whole.into())
}

/// The key of a well-formed member: `key=value` or `tenant@system=value`.
fn key_of(member: &[u8]) -> Option<&[u8]> {
    let at = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (member.get(..at)?, member.get(at + 1..)?);
    let first_ok = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let key_ok = key.len() <= 256
        && key.iter().filter(|byte| **byte == b'@').count() <= 1
        && key
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte));
    let value_ok = (1..=256).contains(&value.len())
        && value.iter().all(|byte| (b' '..=b'~').contains(byte) && !b",=".contains(byte));
    (first_ok && key_ok && value_ok).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn next(parents: &[&str], states: &[&str]) -> Vec<String> {
        let bytes =
            |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        let (parents, states) = (bytes(parents), bytes(states));
        let trace = Trace::next(
            parents.iter().map(Vec::as_slice),
            states.iter().map(Vec::as_slice),
            (0xabc, 0xde),
            false,
        );
        trace.fields().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
    }

    #[test]
    fn traces_go_on() {
        for (parents, flags) in [
            (vec![PARENT], "01"),
            (vec![" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00 "], "00"),
            (vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff"], "01"),
            (vec!["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"], "01"),
            (vec!["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what"], "01"),
        ] {
            let expected =
                format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-00000000000000de-{flags}");
            assert_eq!(next(&parents, &[]), [expected], "{parents:?}");
        }
    }

    #[test]
    fn others_begin() {
        for parents in [
            vec![],
            vec![""],
            vec![PARENT, PARENT],
            vec!["00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x"],
            vec!["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"],
            vec!["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            vec!["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            vec!["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            vec!["00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01"],
            vec!["00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            vec!["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"],
        ] {
            let expected = "traceparent: 00-00000000000000000000000000000abc-00000000000000de-00";
            assert_eq!(next(&parents, &["a=1"]), [expected], "{parents:?}");
        }
        let trace = Trace::next([].into_iter(), [].into_iter(), (0, 0), true);
        assert_eq!(
            trace.fields().next().unwrap().1,
            b"00-00000000000000000000000000000001-0000000000000001-01"
        );
        assert!(!trace.continued());
        assert_eq!(trace.id(), "00000000000000000000000000000001");
        let trace = Trace::next([PARENT.as_bytes()].into_iter(), [].into_iter(), (1, 1), false);
        assert!(trace.continued() && trace.id() == "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn states_are_passed_on() {
        let many = (0..33).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",");
        let long =
            (0..5).map(|number| format!("k{number}={}", "v".repeat(250))).collect::<Vec<_>>().join(",");
        for (states, expected) in [
            (vec!["a=1"], Some("a=1")),
            (vec!["a=1 , ,b@c=x y", "d=2"], Some("a=1,b@c=x y,d=2")),
            (vec![""], None),
            (vec!["a"], None),
            (vec!["a="], None),
            (vec!["A=1"], None),
            (vec!["a=1,a=2"], None),
            (vec!["a=1=2"], None),
            (vec!["@a=1"], None),
            (vec!["a=\u{7f}"], None),
            (vec![many.as_str()], None),
            (vec![long.as_str()], None),
        ] {
            let expected = expected.map(|state| format!("tracestate: {state}"));
            assert_eq!(next(&[PARENT], &states).get(1).cloned(), expected, "{states:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_sends_what_it_reads(
            parent in any::<Vec<u8>>(), near in r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}-?.?",
            state in any::<Vec<u8>>(), chance in any::<(u128, u64)>(),
        ) {
            for value in [parent.as_slice(), near.as_bytes()] {
                let trace = Trace::next([value].into_iter(), [state.as_slice()].into_iter(), chance, true);
                for (name, value) in trace.fields() {
                    prop_assert!(name == "tracestate" || parse(value).is_some());
                    prop_assert!(value.iter().all(|byte| (32..127).contains(byte)));
                }
            }
        }
    }
}
