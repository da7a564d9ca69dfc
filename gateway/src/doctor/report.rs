//! Prints findings, for people and for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::diagnose::{Finding, Level};
use crate::terminal::escape;

/// One finding after another, its cause and its fix below it, and the count.
pub(super) fn text(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{:<10}{}", finding.level.word(), escape(&finding.what))?;
        if !finding.cause.is_empty() {
            writeln!(out, "          cause: {}", escape(&finding.cause))?;
        }
        for (number, line) in finding.fix.iter().enumerate() {
            let label = if number == 0 { "fix:" } else { "" };
            writeln!(out, "          {label:<7}{}", escape(line))?;
        }
    }
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let [ok, warnings, problems, left_out] =
        [Level::Ok, Level::Warning, Level::Problem, Level::LeftOut].map(count);
    writeln!(out, "problems: {problems}, warnings: {warnings}, ok: {ok}, not checked: {left_out}")
}

/// `{"problems": 1, "findings": [{"level", "topic", "what", "cause", "fix": []}]}`
pub(super) fn json(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let list: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "level": finding.level.word(),
                "topic": finding.topic,
                "what": finding.what,
                "cause": finding.cause,
                "fix": finding.fix,
            })
        })
        .collect();
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    writeln!(out, "{}", json!({ "problems": problems, "findings": list }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding::problem("rebinding-filter", "the \u{1b}[31mresolver\u{1b}[0m filters")
            .because("it has a filter")
            .fix(["on the resolver:", "private-domain: \"x\""])
    }

    fn printed(print: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_finding_is_followed_by_its_cause_and_its_fix_and_what_others_wrote_commands_no_terminal() {
        let text = printed(|out| text(&[finding(), Finding::ok("name", "it resolves")], out));
        let expected = "problem   the \\u{1b}[31mresolver\\u{1b}[0m filters\n          cause: it has a filter\n\
                        \x20         fix:   on the resolver:\n                 private-domain: \"x\"\n\
                        ok        it resolves\nproblems: 1, warnings: 0, ok: 1, not checked: 0\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_get_one_object_with_the_topic_of_each_finding() {
        let object: Value = serde_json::from_str(&printed(|out| json(&[finding()], out))).unwrap();
        assert_eq!(object["problems"], 1);
        assert_eq!(object["findings"][0]["topic"], "rebinding-filter");
        assert_eq!(object["findings"][0]["fix"][1], "private-domain: \"x\"");
    }
}
