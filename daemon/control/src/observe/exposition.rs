//! Prometheus' text format 0.0.4, and OpenMetrics 1.0 for who asks for it.

use gatehouse_corridor::telemetry::BUCKETS;
use std::fmt::{Display, Write as _};

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows. OpenMetrics knows those whose name ends in `_total`; the others are of unknown type there.
    Counter,
    Gauge,
    Histogram,
}

/// The two formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// What a client asks for by `Accept`: OpenMetrics where it likes that as well as the older one.
    pub(crate) fn asked(accept: &str) -> Self {
        let quality = |kind: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let named = parts.next()?.eq_ignore_ascii_case(kind);
                let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse);
                named.then(|| quality.unwrap_or(0.0))
            });
            ranges.fold(0.0_f64, f64::max)
        };
        let open = quality("application/openmetrics-text");
        if open > 0.0 && open >= quality("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Names and values.
pub(crate) type Labels<'l> = &'l [(&'l str, &'l str)];

/// A page in the making.
#[derive(Debug)]
pub(crate) struct Page {
    format: Format,
    text: String,
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

impl Page {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// Begins a family; its samples follow before the next one.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let open = self.format == Format::OpenMetrics;
        let (name, word) = match kind {
            Kind::Counter if open && name.ends_with("_total") => (name.trim_end_matches("_total"), "counter"),
            Kind::Counter if open => (name, "unknown"),
            Kind::Counter => (name, "counter"),
            Kind::Gauge => (name, "gauge"),
            Kind::Histogram => (name, "histogram"),
        };
        let help = escaped(help, open);
        // Infallible: a String grows.
        writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {word}").ok();
    }

    /// One sample of the family.
    pub(crate) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let mark = if index == 0 { '{' } else { ',' };
            write!(self.text, "{mark}{label}=\"{}\"", escaped(text, true)).ok();
        }
        let end = if labels.is_empty() { "" } else { "}" };
        writeln!(self.text, "{end} {value}").ok();
    }

    /// A family with one sample and no label.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of one histogram of seconds, with a bucket for each of these powers of two of microseconds.
    pub(crate) fn histogram(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        counted: (&[u64; BUCKETS], u64),
        powers: impl Iterator<Item = u32>,
    ) {
        let (counts, sum_micros) = counted;
        let bucket = format!("{name}_bucket");
        let put = |page: &mut Self, le: &str, count: u64| {
            let labels: Vec<_> = labels.iter().copied().chain([("le", le)]).collect();
            page.sample(&bucket, &labels, count);
        };
        for power in powers {
            // Whole microseconds below 2^power, four buckets for each power.
            let below = counts.iter().take((power as usize).saturating_sub(1) * 4).sum();
            put(self, &seconds(1 << power), below);
        }
        let all = counts.iter().sum();
        put(self, "+Inf", all);
        self.sample(&format!("{name}_sum"), labels, seconds(sum_micros));
        self.sample(&format!("{name}_count"), labels, all);
    }

    /// The whole page.
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// Microseconds as seconds, exactly.
pub(crate) fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_corridor::telemetry::Histogram;

    #[test]
    fn accept_chooses_the_format() {
        for (accept, wanted) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text; q=0.4", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=x", Format::Text),
        ] {
            assert_eq!(Format::asked(accept), wanted, "{accept}");
        }
    }

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.family("a_total", Kind::Counter, "What \"a\"\nis.");
        page.sample("a_total", &[("x", "1\"\\\n"), ("y", "2")], 7);
        page.single("b_count", Kind::Counter, "B.", 1);
        let histogram = Histogram::default();
        [0, 1, 255, 256, 1_023, 1_024, 3_000_000, u64::MAX >> 20]
            .iter()
            .for_each(|value| histogram.record(*value));
        page.family("c_seconds", Kind::Histogram, "C.");
        page.histogram("c_seconds", &[], (&histogram.counts(), 1_500_000), [8, 10, 26].into_iter());
        page.finish()
    }

    #[test]
    fn both_formats_are_as_their_texts_say() {
        let rest = "c_seconds_bucket{le=\"0.000256\"} 3\nc_seconds_bucket{le=\"0.001024\"} 5\n\
                    c_seconds_bucket{le=\"67.108864\"} 7\nc_seconds_bucket{le=\"+Inf\"} 8\n\
                    c_seconds_sum 1.500000\nc_seconds_count 8\n";
        let begin = |a: &str, quote: &str, b: &str| {
            format!(
                "# HELP {a} What {quote}a{quote}\\nis.\n# TYPE {a} counter\na_total{{x=\"1\\\"\\\\\\n\",y=\"2\"}} 7\n\
                 # HELP b_count B.\n# TYPE b_count {b}\nb_count 1\n# HELP c_seconds C.\n# TYPE c_seconds histogram\n{rest}"
            )
        };
        assert_eq!(page(Format::Text), begin("a_total", "\"", "counter"));
        assert_eq!(page(Format::OpenMetrics), begin("a", "\\\"", "unknown") + "# EOF\n");
    }
}
