//! A strict reader of Prometheus' text format 0.0.4 and of OpenMetrics 1.0: it refuses what their texts forbid.

use anyhow::{Context as _, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// Labels of a sample.
pub type Labels = BTreeMap<String, String>;

/// What a page holds: samples by name and labels.
#[derive(Debug, Default)]
pub struct Exposition {
    samples: BTreeMap<(String, Labels), f64>,
    /// Families and their types.
    pub types: BTreeMap<String, String>,
}

fn is_name(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    begins && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// Takes the labels off a line that begins with `{`.
fn labels(text: &str) -> anyhow::Result<(Labels, &str)> {
    let (mut rest, mut found) = (&text[1..], Labels::new());
    while !rest.starts_with('}') {
        let (name, value) = rest.split_once("=\"").context("a label")?;
        ensure!(is_name(name) && !name.contains(':'), "label {name:?}");
        let (mut unescaped, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in value.char_indices() {
            match (escaped, c) {
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (false, '\\') => {}
                (false, c) | (true, c @ ('\\' | '"')) => unescaped.push(c),
                (true, 'n') => unescaped.push('\n'),
                (true, other) => bail!("escape {other:?}"),
            }
            escaped = !escaped && c == '\\';
        }
        let end = end.context("a label without an end")?;
        ensure!(found.insert(name.to_owned(), unescaped).is_none(), "label {name} twice");
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok((found, &rest[1..]))
}

/// Names that the samples of a family may have.
fn members(family: &str, kind: &str, open: bool) -> Vec<String> {
    let with = |ends: &[&str]| ends.iter().map(|end| format!("{family}{end}")).collect();
    match kind {
        "counter" if open => with(&["_total", "_created"]),
        "histogram" => with(&["_bucket", "_sum", "_count"]),
        _ => vec![family.to_owned()],
    }
}

impl Exposition {
    /// Reads a page.
    ///
    /// # Errors
    /// The first line that is not as it should be.
    pub fn parse(text: &str, open: bool) -> anyhow::Result<Self> {
        ensure!(text.ends_with('\n'), "the last line has no end");
        let body = if open { text.strip_suffix("# EOF\n").context("no # EOF")? } else { text };
        let (mut page, mut family, mut seen) = (Self::default(), String::new(), BTreeSet::new());
        for line in body.lines() {
            page.line(line, &mut family, &mut seen, open).with_context(|| format!("{line:?}"))?;
        }
        page.histograms()?;
        Ok(page)
    }

    fn line(
        &mut self,
        line: &str,
        family: &mut String,
        seen: &mut BTreeSet<String>,
        open: bool,
    ) -> anyhow::Result<()> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap_or_default();
            ensure!(is_name(name) && seen.insert(name.to_owned()), "a family twice, or in two pieces");
            name.clone_into(family);
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').context("a type")?;
            let known: &[&str] = if open {
                &["counter", "gauge", "histogram", "unknown"]
            } else {
                &["counter", "gauge", "histogram", "untyped"]
            };
            ensure!(name == family && known.contains(&kind), "type");
            self.types.insert(name.to_owned(), kind.to_owned());
            return Ok(());
        }
        let at = line.find(['{', ' ']).context("no value")?;
        let (name, rest) = line.split_at(at);
        let (labels, rest) = if rest.starts_with('{') { labels(rest)? } else { (Labels::new(), rest) };
        let value: f64 = rest.strip_prefix(' ').context("no space")?.parse()?;
        let kind = self.types.get(family).context("a sample before its type")?;
        ensure!(members(family, kind, open).iter().any(|member| member == name), "not of {family}");
        ensure!(kind != "counter" || value >= 0.0, "a counter below 0");
        ensure!(self.samples.insert((name.to_owned(), labels), value).is_none(), "a sample twice");
        Ok(())
    }

    /// Buckets grow, the last one is `+Inf` and equals the count.
    fn histograms(&self) -> anyhow::Result<()> {
        for (family, _) in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), value) in
                self.samples.iter().filter(|((name, _), _)| *name == format!("{family}_bucket"))
            {
                let mut labels = labels.clone();
                let le = labels.remove("le").with_context(|| format!("{family}: no le"))?;
                let le = if le == "+Inf" { f64::INFINITY } else { le.parse()? };
                series.entry(labels).or_default().push((le, *value));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let grows = buckets.is_sorted_by(|a, b| a.1 <= b.1);
                let count = self.samples.get(&(format!("{family}_count"), labels.clone()));
                let last = buckets.last().filter(|(le, _)| le.is_infinite()).map(|(_, count)| count);
                ensure!(
                    grows && last.is_some() && last == count,
                    "{family} {labels:?}: {buckets:?} {count:?}"
                );
                ensure!(self.samples.contains_key(&(format!("{family}_sum"), labels)), "{family}: no sum");
            }
        }
        Ok(())
    }

    /// The value of a sample.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}
