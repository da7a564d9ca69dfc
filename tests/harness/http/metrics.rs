//! Reads one figure out of Prometheus' text format.

/// The sum of every sample of `name` that has these labels, at `<operator_url>/metrics`; 0 when there is none.
pub fn metric(operator_url: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let text = super::get(&format!("{operator_url}/metrics")).text();
    text.lines().filter_map(|line| sample(line, name, labels)).sum()
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
