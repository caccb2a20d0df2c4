//! The pages of docs/ that are generated from the source, and compared with it by a test.

use crate::settings::table;
use gatehouse_common::problem::Code;
use std::fmt::Write as _;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Page {
    Config,
    Errors,
    Runbooks,
    Openapi,
}

impl Page {
    /// Its text.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Config => table::document(),
            Self::Errors => errors(),
            Self::Runbooks => runbooks(),
            Self::Openapi => gatehouse_control::openapi(),
        }
    }
}

fn errors() -> String {
    let mut page = String::from(
        "# Error codes\n\nGenerated from `common/src/problem/codes.rs`; `gatehoused --print-docs errors` writes it anew.\n\n\
         These are the codes of Gatehouse itself, on the ops sockets and where an older surface has none of its own. An error\n\
         is an object with `status`, `code`, `detail` and, where they help, `field` and `remedy` (RFC 9457).\n\n\
         | Code | Status | Meaning | What to do |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let entry = code.entry();
        // Infallible: a String grows.
        writeln!(page, "| `{}` | {} | {} | {} |", entry.code, entry.status, entry.title, entry.remedy).ok();
    }
    page
}

fn runbooks() -> String {
    let mut page = String::from(
        "# Runbooks\n\nGenerated from `daemon/ops/src/runbooks/`; `gatehoused --print-docs runbooks` writes it anew.\n\n\
         Each is planned first, and only the plan that was shown is run. What must be typed to start one: nothing (safe), `yes`, the\n\
         name the plan gives, or that name and a reason. From a script: `gatehouse plan ID --param value --json`, then\n\
         `gatehouse run ID --param value --plan DIGEST --reason TEXT --follow`.\n",
    );
    for spec in gatehouse_ops::runbook_specs() {
        let about = spec.about.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(
            page,
            "\n## `{}`: {}\n\n{about}\n\nConfirmed by: {}.",
            spec.id,
            spec.title,
            spec.tier.words()
        )
        .ok();
        for param in spec.params {
            let kind = if param.required { "required" } else { "optional" };
            writeln!(page, "`--{}` ({kind}): {}.", param.name, param.help).ok();
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_what_the_source_says() {
        for (page, file) in [
            (Page::Config, "config.md"),
            (Page::Errors, "errors.md"),
            (Page::Runbooks, "runbooks.md"),
            (Page::Openapi, "openapi.json"),
        ] {
            let path = format!("{}/../docs/{file}", env!("CARGO_MANIFEST_DIR"));
            let (kept, page, name) =
                (std::fs::read_to_string(path).unwrap_or_default(), page.text(), file.split('.').next());
            // Of a document of so many lines the first that differs says most.
            let differs = kept.lines().zip(page.lines()).find(|(kept, made)| kept != made);
            let name = name.unwrap_or_default();
            assert!(kept == page, "run: gatehoused --print-docs {name} > docs/{file}; first: {differs:?}");
        }
    }
}
