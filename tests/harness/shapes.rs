//! Packuments as large as the largest of the npm registry, made as text: their size, what compresses of them and
//! what does not are as there, and the same numbers give the same bytes in every run.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

/// A packument in the making.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The package's name.
    pub name: &'static str,
    /// How many versions it has.
    pub versions: usize,
    /// How many dependencies each of them names, at about 40 bytes in both forms and 60 more in the full one.
    pub dependencies: usize,
    /// Which edition: another one has another digest in its newest version, and is otherwise the same.
    pub edition: u64,
}

impl Shape {
    /// As `next` has it: 40 MB in 3,900 versions.
    pub fn largest(name: &'static str) -> Self {
        Self { name, versions: 3_900, dependencies: 114, edition: 1 }
    }

    /// As `typescript` has it: 10 MB in 3,600 versions.
    pub fn many_versions(name: &'static str) -> Self {
        Self { name, versions: 3_600, dependencies: 16, edition: 1 }
    }

    /// The next edition.
    #[must_use]
    pub fn republished(self) -> Self {
        Self { edition: self.edition + 1, ..self }
    }

    /// The number of a version, by its place.
    pub fn version(&self, nth: usize) -> String {
        if nth.is_multiple_of(10) {
            format!("{}.{}.0", nth / 200, nth / 10 % 20)
        } else {
            format!("{}.{}.1-canary.{}", nth / 200, nth / 10 % 20, nth % 10)
        }
    }

    /// The full form, with tarballs at `base`.
    pub fn full(&self, base: &str) -> Bytes {
        let name = self.name;
        let mut text = self.head();
        write!(text, r#","_id":"{name}","_rev":"{}-0","time":{{"created":"2016-10-05T00:00:00.000Z","modified":"2024-01-01T00:00:00.000Z""#, self.versions)
            .expect("a write to memory");
        for nth in 0..self.versions {
            write!(text, r#","{}":"{}""#, self.version(nth), published(nth)).expect("a write to memory");
        }
        text.push_str(r#"},"versions":{"#);
        for nth in 0..self.versions {
            self.manifest(&mut text, nth, base, true);
        }
        text.push_str(r#"},"license":"MIT","readme":"As large as they come."}"#);
        text.into()
    }

    /// The abbreviated form, with tarballs at `base`.
    pub fn abbreviated(&self, base: &str) -> Bytes {
        let mut text = self.head();
        text.push_str(r#","modified":"2024-01-01T00:00:00.000Z","versions":{"#);
        for nth in 0..self.versions {
            self.manifest(&mut text, nth, base, false);
        }
        text.push_str("}}");
        text.into()
    }

    fn head(&self) -> String {
        let latest = self.version((self.versions - 1) / 10 * 10);
        format!(r#"{{"name":"{}","dist-tags":{{"latest":"{latest}"}}"#, self.name)
    }

    fn manifest(&self, text: &mut String, nth: usize, base: &str, full: bool) {
        let (name, version) = (self.name, self.version(nth));
        let comma = if nth == 0 { "" } else { "," };
        write!(text, r#"{comma}"{version}":{{"name":"{name}","version":"{version}""#)
            .expect("a write to memory");
        text.push_str(r#","bin":{"run":"dist/bin/run"},"engines":{"node":">=18.17.0"},"dependencies":{"#);
        for other in 0..self.dependencies {
            let comma = if other == 0 { "" } else { "," };
            // A range changes now and then: neighbours are alike, and that is what compresses.
            let minor = (nth + other * 7) / 40;
            write!(text, r#"{comma}"@parts/module-{other}":"^{}.{minor}.0""#, other % 19)
                .expect("a write to memory");
        }
        text.push('}');
        if full {
            self.rest(text, nth);
        }
        self.dist(text, nth, &version, base);
        text.push('}');
    }

    /// What only the full form has.
    fn rest(&self, text: &mut String, nth: usize) {
        write!(
            text,
            r#","_id":"{}@{}","gitHead":"{}","_npmUser":{{"name":"ada","email":"ada@mail.example"}},"description":"for tests","exports":{{"#,
            self.name,
            self.version(nth),
            hex(&Noise::of(self.seed(nth) ^ 1).bytes(20)),
        )
        .expect("a write to memory");
        for other in 0..self.dependencies {
            let comma = if other == 0 { "" } else { "," };
            write!(
                text,
                r#"{comma}"./dist/module-{other}":"./dist/compiled/module-{other}/{}.js""#,
                (nth + other) / 60
            )
            .expect("a write to memory");
        }
        text.push('}');
    }

    fn dist(&self, text: &mut String, nth: usize, version: &str, base: &str) {
        let mut noise = Noise::of(self.seed(nth));
        let (shasum, integrity) = (hex(&noise.bytes(20)), BASE64.encode(noise.bytes(64)));
        let signature = BASE64.encode(noise.bytes(71));
        let name = self.name;
        write!(
            text,
            r#","dist":{{"shasum":"{shasum}","tarball":"{base}/{name}/-/{name}-{version}.tgz","integrity":"sha512-{integrity}","fileCount":{},"unpackedSize":{},"signatures":[{{"keyid":"SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA","sig":"{signature}"}}]}}"#,
            nth % 977,
            nth * 4_099,
        )
        .expect("a write to memory");
    }

    fn seed(&self, nth: usize) -> u64 {
        let name = self.name.bytes().fold(17_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
        let edition = if nth + 1 == self.versions { self.edition } else { 0 };
        (nth as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ name.rotate_left(20) ^ edition
    }
}

fn published(nth: usize) -> String {
    let (day, hour, minute) = (nth / 12 % 28 + 1, nth % 24, nth * 7 % 60);
    format!("20{:02}-{:02}-{day:02}T{hour:02}:{minute:02}:00.000Z", 16 + nth / 600, nth / 336 % 12 + 1)
}

/// Bytes that do not compress: splitmix64.
struct Noise(u64);

impl Noise {
    fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(count).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_largest_is_as_large_as_they_are_found_and_the_same_in_every_run() {
        let shape = Shape::largest("next-like");
        let full = shape.full("http://127.0.0.1:1");
        assert!((38_000_000..46_000_000).contains(&full.len()), "{} bytes", full.len());
        assert!(full == shape.full("http://127.0.0.1:1"));
        let parsed: Value = serde_json::from_slice(&full).expect("JSON");
        let versions = parsed["versions"].as_object().expect("versions");
        assert_eq!(versions.len(), 3_900, "every version has a number of its own");
        assert!(versions.contains_key(parsed["dist-tags"]["latest"].as_str().expect("a tag")));
        assert_eq!(parsed["time"].as_object().expect("times").len(), 3_902);
    }

    #[test]
    fn another_edition_differs_in_its_newest_version_only() {
        let shape = Shape { name: "small", versions: 30, dependencies: 3, edition: 1 };
        let [one, other] = [shape, shape.republished()].map(|shape| shape.abbreviated("http://127.0.0.1:1"));
        let [one, other]: [Value; 2] = [one, other].map(|text| serde_json::from_slice(&text).expect("JSON"));
        let different = |version: &String| one["versions"][version] != other["versions"][version];
        let versions = one["versions"].as_object().expect("versions");
        let changed: Vec<_> = versions.keys().filter(|version| different(version)).collect();
        assert_eq!(changed, [&shape.version(29)]);
    }
}
