//! Reads one figure out of Prometheus' text format.

/// The sum of every sample of `name` that has these labels, at `<operator_url>/metrics`; 0 when there is none.
pub fn metric(operator_url: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let text = super::get(&format!("{operator_url}/metrics")).text();
    total(&text, name, labels)
}

fn total(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    text.lines().filter_map(|line| sample(line, name, labels)).fold(0.0, |total, value| total + value)
}

fn sample(line: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (held, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let wanted =
        |(label, value): &(&str, &str)| held.split(',').any(|pair| pair == format!("{label}=\"{value}\""));
    if !labels.iter().all(wanted) {
        return None;
    }
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE requests counter\n\
        requests_total{route=\"tarball\",status=\"200\"} 3\n\
        requests_total{route=\"packument\",status=\"200\"} 4.5 1700000000\n\
        requests_total_more 9\n\
        held_bytes 7\n";

    fn sum(name: &str, labels: &[(&str, &str)]) -> f64 {
        total(PAGE, name, labels)
    }

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_asked_for() {
        let tarballs = [("route", "tarball"), ("status", "200")];
        let sums = [
            sum("requests_total", &[]),
            sum("requests_total", &tarballs),
            sum("requests_total", &[("status", "404")]),
            sum("held_bytes", &[]),
            sum("held_bytes", &[("route", "tarball")]),
        ];
        assert_eq!(sums.map(|sum| sum.to_string()), ["7.5", "3", "0", "7", "0"]);
    }
}
