//! The query of a URL, decoded.

use crate::schema;
use actix_web::HttpRequest;
use actix_web::web;
use gatehouse_common::problem::Problem;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;

/// Names and values; of a name given twice the last counts.
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let pairs = web::Query::<HashMap<String, String>>::from_query(request.query_string());
        Self(pairs.map(web::Query::into_inner).unwrap_or_default())
    }

    /// A value that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Whether it says yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| schema::flag(&json!(text)) == Some(true))
    }

    /// As [`Query::flag`], but neither yes nor no is refused.
    ///
    /// # Errors
    /// 422 `VAL001`, naming it.
    pub(crate) fn yes_or_no(&self, name: &str) -> Result<bool, Problem> {
        if self.text(name).is_some_and(|text| schema::flag(&json!(text)).is_none()) {
            let text = format!("Validation Error: {name}: expected true or false");
            return Err(Problem::compat(422, "VAL001", text).at(name));
        }
        Ok(self.flag(name))
    }

    /// A number within bounds; `None` if it is not given.
    ///
    /// # Errors
    /// 422 `VAL001`, naming it.
    pub(crate) fn number<N>(&self, name: &str, least: N, most: N) -> Result<Option<N>, Problem>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.trim().parse::<N>().ok().filter(|number| *number >= least && *number <= most);
        let refused = || {
            let text = format!("Validation Error: {name}: expected a number from {least} to {most}");
            Problem::compat(422, "VAL001", text).at(name)
        };
        number.map(Some).ok_or_else(refused)
    }

    /// `skip` and `limit` of lists without pages (spec/doorman.md 1.5).
    ///
    /// # Errors
    /// As [`Query::number`].
    pub(crate) fn window(&self) -> Result<(usize, usize), Problem> {
        let skip = self.number("skip", 0, usize::MAX)?.unwrap_or(0);
        Ok((skip, self.number("limit", 1, 1_000)?.unwrap_or(100)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn a_flag_says_yes_or_no_or_is_refused() {
        for (query, wanted) in [
            ("", Ok(false)),
            ("on=", Ok(false)),
            ("on=Yes", Ok(true)),
            ("on=0", Ok(false)),
            ("on=perhaps", Err(Some("on".to_owned()))),
        ] {
            let request = TestRequest::with_uri(&format!("/?{query}")).to_http_request();
            let found = Query::of(&request).yes_or_no("on").map_err(|problem| problem.field);
            assert_eq!(found, wanted, "{query}");
        }
    }
}
