//! Promises about certificates: what is refused, and how a newer one takes its place.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::time::sleep;

use super::pair::{Pair, Validity};
use super::source::{Source, Texts};
use super::*;
use crate::metrics::Metrics;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that is valid from two days ago until `days` from now, and its key.
fn pair(name: &str, days: i64) -> Texts {
    pair_from(name, SystemTime::now() - 2 * DAY, days)
}

fn pair_from(name: &str, from: SystemTime, days: i64) -> Texts {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned(), "192.0.2.1".to_owned()]).unwrap();
    let now = SystemTime::now();
    params.not_before = from.into();
    let days_from_now = DAY * u32::try_from(days.unsigned_abs()).unwrap();
    params.not_after = if days < 0 { now - days_from_now } else { now + days_from_now }.into();
    let cert = params.self_signed(&key).unwrap();
    Texts { cert: cert.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
}

/// A folder with `tls.cert` and `tls.key`.
struct Folder(TempDir);

impl Folder {
    fn new(texts: &Texts) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put(texts);
        folder
    }

    fn put(&self, texts: &Texts) {
        fs::write(self.0.path().join("tls.cert"), &texts.cert).unwrap();
        fs::write(self.0.path().join("tls.key"), &texts.key).unwrap();
    }

    fn config(&self) -> Config {
        let path = |name| Some(self.0.path().join(name).to_str().unwrap().to_owned());
        Config { cert: path("tls.cert"), key: path("tls.key") }
    }

    fn load(&self) -> Result<Tls, TlsError> {
        Tls::load(&self.config(), Arc::new(Metrics::new())).map(|tls| tls.expect("two files were named"))
    }

    fn refusal(&self) -> String {
        self.load().err().expect("a refusal").to_string()
    }
}

fn describe(texts: &Texts) -> String {
    let source = Source { cert: "cert".into(), key: "key".into(), configured: true };
    Pair::parse(texts, &source).unwrap().describe()
}

#[test]
fn a_pair_of_files_is_read_and_described() {
    let tls = Folder::new(&pair("registry.example", 30)).load().unwrap();
    let description = tls.describe();
    assert!(description.starts_with("certificate for registry.example, 192.0.2.1 until 2"), "{description}");
    let server = tls.server(HTTP).unwrap();
    assert_eq!(server.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}

#[test]
fn what_cannot_be_served_is_refused_with_its_file_and_its_cause() {
    let (good, other) = (pair("a.example", 30), pair("b.example", 30));
    let text = |text: &str| text.as_bytes().to_vec();
    let unended = b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec();
    let no_certificate = text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let locked = text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let large = vec![b'#'; (1 << 20) + 1];
    let cases = [
        (Texts { cert: good.cert.clone(), key: other.key }, "tls.key: its key is not that of"),
        (Texts { cert: text("hello"), key: good.key.clone() }, "tls.cert: holds no certificate"),
        (Texts { cert: unended, key: good.key.clone() }, "tls.cert: is not valid PEM"),
        (Texts { cert: no_certificate, key: good.key.clone() }, "tls.cert: its first certificate cannot"),
        (Texts { cert: large, key: good.key.clone() }, "tls.cert: is larger than"),
        (Texts { cert: good.cert.clone(), key: good.cert.clone() }, "tls.key: holds no private key"),
        (Texts { cert: good.cert.clone(), key: locked }, "tls.key: holds a key under a password"),
    ];
    for (texts, cause) in cases {
        let refusal = Folder::new(&texts).refusal();
        assert!(refusal.contains(cause), "{refusal}, not {cause}");
    }
    let folder = Folder::new(&good);
    fs::remove_file(folder.0.path().join("tls.key")).unwrap();
    assert!(folder.refusal().contains("tls.key: cannot be read: No such file"), "{}", folder.refusal());
    fs::create_dir(folder.0.path().join("tls.key")).unwrap();
    assert!(folder.refusal().contains("tls.key: is not a file"), "{}", folder.refusal());
}

#[test]
fn a_certificate_that_is_out_of_date_says_since_when_and_asks_for_the_clock() {
    let texts = pair("a.example", 30);
    let source = Source { cert: "cert".into(), key: "key".into(), configured: true };
    let validity = Pair::parse(&texts, &source).unwrap().validity;
    let now = SystemTime::now();
    assert!(validity.check(now).is_ok());
    let future = validity.check(now - 9 * DAY).unwrap_err().of("cert".as_ref()).to_string();
    assert!(future.starts_with("cert: is valid only from 2") && future.contains("clock"), "{future}");
    let past = validity.check(now + 31 * DAY).unwrap_err().of("cert".as_ref()).to_string();
    assert!(past.starts_with("cert: expired at 2"), "{past}");
}

#[test]
fn a_plain_name_is_a_credential_and_the_usual_ones_need_not_be_named() {
    let folder = Folder::new(&pair("a.example", 30));
    let here = Some(folder.0.path());
    let find = |config: &Config, credentials| Source::find(config, credentials);
    let named = Config { cert: Some("tls.cert".to_owned()), key: Some("/etc/key.pem".to_owned()) };
    let found = find(&named, here).unwrap().unwrap();
    assert_eq!((found.cert, found.key), (folder.0.path().join("tls.cert"), "/etc/key.pem".into()));
    let refusal = find(&named, None).unwrap_err().to_string();
    assert!(refusal.starts_with("tls.cert = \"tls.cert\" names a credential"), "{refusal}");
    let unnamed = Config::default();
    assert_eq!(find(&unnamed, here).unwrap().unwrap().key, folder.0.path().join("tls.key"));
    assert_eq!(find(&unnamed, Some(std::path::Path::new("/nonexistent"))).unwrap(), None);
    assert_eq!(find(&unnamed, None).unwrap(), None);
}

#[test]
fn credentials_that_are_no_pair_are_complained_of_and_done_without() {
    let folder = Folder::new(&pair("a.example", 30));
    let load = |config: &Config| {
        let source = Source::find(config, Some(folder.0.path())).unwrap();
        Tls::load_from(source, Arc::new(Metrics::new()))
    };
    let named = Config { cert: Some("tls.cert".to_owned()), key: Some("tls.key".to_owned()) };
    let found = Config::default();
    assert!(load(&found).unwrap().is_some() && load(&named).unwrap().is_some());

    fs::write(folder.0.path().join("tls.key"), "").unwrap();
    assert!(load(&found).unwrap().is_none());
    assert!(load(&named).err().unwrap().to_string().contains("tls.key: holds no private key"));

    fs::remove_file(folder.0.path().join("tls.key")).unwrap();
    assert!(load(&found).unwrap().is_none());
    let half =
        Source::find(&found, Some(folder.0.path())).unwrap().unwrap().read().err().unwrap().to_string();
    assert!(half.contains("credential tls.cert and not the credential tls.key"), "{half}");
    assert!(half.ends_with("/etc/credstore/open-registry.tls.key"), "{half}");
    assert!(load(&named).err().unwrap().to_string().contains("tls.key: cannot be read"));
}

#[test]
fn listeners_that_need_a_certificate_do_not_start_without() {
    let refusal = Tls::required(None, "https").err().unwrap().to_string();
    assert!(refusal.contains("https is to be served without a certificate; set cert and key"), "{refusal}");
}

#[test]
fn a_bad_certificate_is_not_taken_and_the_one_before_stays() {
    let (old, new) = (pair("old.example", 30), pair("new.example", 30));
    let folder = Folder::new(&old);
    let tls = folder.load().unwrap();
    // As in the moment between writing the one and the other.
    fs::write(folder.0.path().join("tls.cert"), &new.cert).unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(tls.describe(), describe(&old));
    folder.put(&new);
    tls.reload().unwrap();
    assert_eq!(tls.describe(), describe(&new));
}

#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_found_within_two_minutes() {
    let (old, new) = (pair("old.example", 30), pair("new.example", 30));
    let folder = Folder::new(&old);
    let tls = folder.load().unwrap();
    tokio::spawn(tls.clone().watch());
    sleep(Duration::from_secs(90)).await;
    assert_eq!(tls.describe(), describe(&old));
    fs::write(folder.0.path().join("tls.key"), &new.key).unwrap();
    sleep(Duration::from_secs(90)).await;
    assert_eq!(tls.describe(), describe(&old), "half of a pair was taken");
    folder.put(&new);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(tls.describe(), describe(&new));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_whose_time_has_not_come_is_taken_when_it_comes() {
    let old = pair("old.example", 30);
    // Certificates count whole seconds.
    let new = pair_from("new.example", SystemTime::now() + Duration::from_secs(5), 30);
    let folder = Folder::new(&old);
    let tls = folder.load().unwrap();
    folder.put(&new);
    assert!(tls.reload().unwrap_err().to_string().contains("is valid only from"));
    tokio::spawn(tls.clone().watch());
    let start = std::time::Instant::now();
    // Minutes fly by in this clock, while the certificate's is the machine's.
    while tls.describe().contains("old.example") && start.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_secs(60)).await;
    }
    assert!(tls.describe().contains("new.example"), "{}", tls.describe());
}

#[test]
fn a_certificate_is_called_short_when_its_renewal_has_failed() {
    let start = SystemTime::UNIX_EPOCH;
    let short = |whole: u32, left: u32| {
        Validity { from: start, until: start + DAY * whole }.is_short(start + DAY * (whole - left))
    };
    assert!(!short(90, 15) && short(90, 13));
    assert!(!short(6, 2) && short(6, 1));
    assert!(!short(3650, 15) && short(3650, 13));
    assert!(Validity { from: start, until: start + DAY }.is_short(start + 2 * DAY));
}
