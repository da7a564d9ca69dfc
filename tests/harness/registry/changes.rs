//! The replication API, as the npm registry gives it since 2025: numbers, pages, and none of CouchDB's other ways.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;

/// Where the sequence begins: nobody may take it for small.
const FIRST: u64 = 117_000_000;
const PAGE: usize = 1000;
const LARGEST_PAGE: usize = 10_000;

/// What has changed, in order; of each package the last change only.
#[derive(Debug)]
pub(crate) struct Changes {
    end: u64,
    rows: BTreeMap<u64, (String, bool)>,
}

impl Default for Changes {
    fn default() -> Self {
        Self { end: FIRST, rows: BTreeMap::new() }
    }
}

impl Changes {
    pub(crate) fn note(&mut self, name: &str, is_gone: bool) {
        self.rows.retain(|_, (held, _)| held != name);
        self.end += 1;
        self.rows.insert(self.end, (name.to_owned(), is_gone));
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// So many changes happen to packages that are here no more.
    pub(crate) fn skip(&mut self, count: u64) {
        self.end += count;
    }

    /// Forgets everything, and counts from here.
    pub(crate) fn restart(&mut self, end: u64) {
        *self = Self { end, rows: BTreeMap::new() };
    }

    pub(crate) fn root(&self, packages: usize) -> Answer {
        let root = json!({"db_name": "registry", "doc_count": packages, "update_seq": self.end});
        Answer::json(StatusCode::OK, &root)
    }

    /// `query` is what follows the question mark.
    pub(crate) fn page(&self, query: &str) -> Answer {
        let (mut since, mut limit) = (0, PAGE);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let number = value.parse::<u64>().ok();
            match (&*key, number) {
                ("since", Some(number)) => since = number,
                ("limit", Some(number)) if (1..=LARGEST_PAGE as u64).contains(&number) => {
                    limit = usize::try_from(number).unwrap_or(LARGEST_PAGE);
                }
                _ => return refused(&key),
            }
        }
        let rows: Vec<Value> = self.rows.range(since + 1..).take(limit).map(row).collect();
        let last = rows.last().map_or(json!(since), |row| row["seq"].clone());
        Answer::json(StatusCode::OK, &json!({"results": rows, "last_seq": last}))
    }
}

fn row((seq, (name, is_gone)): (&u64, &(String, bool))) -> Value {
    let mut row = json!({"seq": seq, "id": name, "changes": [{"rev": format!("{seq}-0123456789abcdef")}]});
    if *is_gone {
        row["deleted"] = json!(true);
    }
    row
}

fn refused(key: &str) -> Answer {
    Answer::json(StatusCode::BAD_REQUEST, &json!({"error": format!("invalid query parameter: {key}")}))
}
