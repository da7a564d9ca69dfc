//! Asks name servers with dig, and reads what they answer.

use std::fmt;

use super::Host;

/// One answer, or that there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `NOERROR`, `NXDOMAIN`, ...; `NONE` when no answer came within two seconds.
    pub status: String,
    /// `qr aa rd`.
    pub flags: String,
    /// The data of the records of the answer section, sorted: addresses, mostly.
    pub answers: Vec<String>,
}

pub(super) fn ask(host: &Host, arguments: &[&str]) -> Reply {
    let shown = ["+noall", "+comments", "+answer", "+time=2", "+tries=1"];
    read(&host.output("dig", &[&shown, arguments].concat()).stdout)
}

impl Reply {
    /// Whether there was one.
    pub fn came(&self) -> bool {
        self.status != "NONE"
    }
}

/// `NOERROR 192.168.7.9 fd00:7::9`, or the status alone.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.status)?;
        self.answers.iter().try_for_each(|answer| write!(out, " {answer}"))
    }
}

fn read(said: &str) -> Reply {
    let between = |from: &str, to: char| {
        let found = said.lines().find_map(|line| line.split_once(from)?.1.split_once(to));
        found.map(|(found, _)| found.to_owned())
    };
    let status = between("status: ", ',').unwrap_or_else(|| "NONE".to_owned());
    let flags = between(";; flags: ", ';').unwrap_or_default();
    let mut answers: Vec<String> = said.lines().filter_map(data).collect();
    answers.sort();
    Reply { status, flags, answers }
}

/// Of `name. 60 IN A 192.168.7.9`.
fn data(line: &str) -> Option<String> {
    if line.starts_with(';') {
        return None;
    }
    let fields: Vec<&str> = line.split_whitespace().skip(4).collect();
    (!fields.is_empty()).then(|| fields.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = ";; Got answer:\n\
        ;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 33361\n\
        ;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 1\n\n\
        ;; ANSWER SECTION:\n\
        registry.open-registry.dev. 20 IN\tA\t192.168.7.9\n\
        registry.open-registry.dev. 20 IN\tA\t192.168.7.10\n\n";

    #[test]
    fn status_flags_and_data_are_read_from_what_dig_says() {
        let reply = read(SAID);
        assert_eq!(reply.to_string(), "NOERROR 192.168.7.10 192.168.7.9");
        assert_eq!(reply.flags, "qr aa rd");
    }

    #[test]
    fn silence_is_not_taken_for_an_answer() {
        let reply =
            read(";; communications error to 192.168.7.1#53: timed out\n;; no servers could be reached\n");
        assert_eq!((reply.to_string().as_str(), reply.came()), ("NONE", false));
    }
}
