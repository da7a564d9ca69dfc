//! The `[[block]]` entries of all files.

use std::collections::HashMap;

use super::document::Table;
use super::peers::typed;
use super::problem::Problem;
use super::setting::Setting;
use crate::takedown::Block;

/// The name of the list.
pub(crate) const LIST: &str = "block";

/// The entries of these tables, in their order; what is wrong goes to `problems`. Their number is bounded by what followers read.
pub(crate) fn read(tables: &[&Table], problems: &mut Vec<Problem>) -> Vec<Block> {
    let mut first: HashMap<(String, String), &str> = HashMap::new();
    let mut blocks = Vec::new();
    for table in tables {
        let Some(block) = typed::<Block>(table, LIST, problems) else { continue };
        if let Some((key, words)) = block.problem() {
            problems.push(Problem::new(place(table, key), format!("{LIST}.{key}: {words}")));
        }
        let subject = (block.package.clone(), block.version.clone());
        if let Some(before) = first.insert(subject, &table.place) {
            let words = format!("{LIST}: this is blocked at {before} already; leave one out");
            problems.push(Problem::new(&*table.place, words));
        }
        blocks.push(block);
    }
    blocks
}

fn place<'a>(table: &'a Table, key: &str) -> &'a str {
    let named = |setting: &&Setting| {
        setting.key.strip_prefix(LIST).and_then(|rest| rest.strip_prefix('.')) == Some(key)
    };
    table.settings.iter().find(named).map_or(&table.place, |setting| &setting.place)
}
