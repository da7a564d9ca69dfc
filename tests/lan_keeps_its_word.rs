//! What the LAN in a box promises to the tests that stand on it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use harness::http::{self, Request};
use harness::lan::{Host, Lan, NameServer, Office, PUBLIC_ENTRY, PublicDns, Publication, ZONE};
use harness::{Gateway, Package, Registry, in_own_network};

const SOON: Duration = Duration::from_secs(5);

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v)
}

/// Connects, and says from which address the other side was reached.
fn reach(from: &Host, to: &Host, address: SocketAddr) -> Result<IpAddr, std::io::ErrorKind> {
    let listener = to.run(|| TcpListener::bind(address)).expect("a free port");
    let stream = from.run(|| TcpStream::connect_timeout(&address, SOON)).map_err(|error| error.kind())?;
    let (_, peer) = listener.accept().expect("a connection that was made");
    drop(stream);
    Ok(peer.ip())
}

#[test]
fn hosts_reach_each_other_and_the_internet_through_the_router() {
    in_own_network("hosts_reach_each_other_and_the_internet_through_the_router", &[], || {
        let internet = Lan::internet();
        let (lan, other) = (Lan::new("office", 7), Lan::new("home", 8));
        let (router, _other_router) = (lan.router(&internet), other.router(&internet));
        let (laptop, server) = (lan.host("laptop"), lan.host_at("server", 9));
        let (npm, stranger) = (internet.host("npm"), other.host("stranger"));
        let outside = router.on(&internet);

        assert_eq!(server.at(80).to_string(), "192.168.7.9:80");
        assert_eq!(server.at_v6(80).to_string(), "[fd00:7::9]:80");
        assert_eq!(reach(&laptop, &server, server.at(80)), Ok(laptop.v4().into()));
        assert_eq!(reach(&laptop, &server, server.at_v6(80)), Ok(laptop.v6().into()));
        assert_eq!(reach(&laptop, &npm, npm.at(443)), Ok(outside.v4.into()));
        assert_eq!(reach(&laptop, &npm, npm.at_v6(443)), Ok(outside.v6.into()));
        assert!(reach(&stranger, &server, server.at(80)).is_err(), "a LAN is open to another one");
        assert!(reach(&npm, &laptop, laptop.at(80)).is_err(), "a LAN is open to the Internet");
    });
}

#[test]
fn a_cut_link_carries_nothing_until_it_is_restored() {
    in_own_network("a_cut_link_carries_nothing_until_it_is_restored", &[], || {
        let internet = Lan::internet();
        let lan = Lan::new("office", 7);
        let router = lan.router(&internet);
        let (laptop, npm) = (lan.host("laptop"), internet.host("npm"));
        for address in [npm.at(443), npm.at_v6(443)] {
            assert!(reach(&laptop, &npm, address).is_ok());
            router.on(&internet).cut();
            assert!(reach(&laptop, &npm, address).is_err());
            assert!(reach(&laptop, &router, router.at(80)).is_ok(), "the LAN itself is whole");
            router.on(&internet).restore();
            assert!(reach(&laptop, &npm, address).is_ok());
        }
    });
}

#[test]
fn what_is_started_on_a_host_stays_on_it() {
    in_own_network("what_is_started_on_a_host_stays_on_it", &[], || {
        let lan = Lan::new("office", 7);
        let (npm, server, laptop) = (lan.host("npm"), lan.host("server"), lan.host("laptop"));
        let registry = npm.run(|| Registry::builder().package(left()).start_at(npm.at(80)));
        let builder = Gateway::builder().upstream(registry.url()).listen(server.at(80));
        let mut gateway = server.run(|| builder.start());
        let left = format!("http://{}/left", server.v4());
        let status = || laptop.run(|| http::get(&left).status);

        assert_eq!(status(), 200);
        gateway.restart();
        registry.switch_off();
        registry.switch_on();
        assert_eq!(status(), 200);
        assert!(
            gateway.metric("open_registry_http_requests_total", &[]) >= 1.0,
            "its metrics are within reach"
        );
        assert!(Request::get(&left).try_send().is_err(), "the test itself is on no host");
    });
}

#[test]
fn every_host_looks_names_up_where_it_was_told_to() {
    in_own_network("every_host_looks_names_up_where_it_was_told_to", &[], || {
        let lan = Lan::new("office", 7);
        let (router, laptop, phone) = (lan.host_at("router", 1), lan.host("laptop"), lan.host("phone"));
        let own = lan.host("own");
        let _ours = NameServer::dnsmasq(&router, "host-record=ours.example,192.168.7.9,fd00:7::9");
        let _other = NameServer::dnsmasq(&own, "host-record=ours.example,192.168.7.66");
        phone.use_name_servers(&[own.v4().into()]);

        let ours: Vec<IpAddr> = vec!["192.168.7.9".parse().unwrap(), "fd00:7::9".parse().unwrap()];
        assert_eq!(laptop.look_up("ours.example"), ours);
        assert_eq!(laptop.dig(&["A", "ours.example"]).to_string(), "NOERROR 192.168.7.9");
        assert_eq!(phone.dig(&["A", "ours.example"]).to_string(), "NOERROR 192.168.7.66");
        phone.use_name_servers(&[laptop.v4().into()]);
        assert_eq!(phone.dig(&["A", "ours.example"]).to_string(), "NONE");
    });
}

#[test]
fn the_public_dns_is_signed_as_far_as_it_is_said_to_be() {
    in_own_network("the_public_dns_is_signed_as_far_as_it_is_said_to_be", &[], || {
        let internet = Lan::internet();
        let npm = ("npm.example", "45.83.220.80".parse().unwrap());
        let host = internet.host("resolver");
        for (publication, parent, zone) in [
            (Publication::Unsigned, false, false),
            (Publication::Delegated, true, false),
            (Publication::Signed, true, true),
        ] {
            let public = PublicDns::new(&internet, publication, &[npm]);
            let _unbound = NameServer::unbound(&host, &public.for_unbound(true));
            let asked = |name| host.dig(&[&format!("@{}", host.v4()), "+dnssec", "A", name]);
            let is_secure = |name| asked(name).flags.split(' ').any(|flag| flag == "ad");

            assert!(is_secure("npm.example"), "the root is signed");
            assert_eq!(is_secure("www.open-registry.dev"), parent, "{publication:?}");
            assert_eq!(is_secure(ZONE), zone, "{publication:?}");
            assert!(asked(ZONE).to_string().starts_with(&format!("NOERROR {}", PUBLIC_ENTRY[0])));
            assert_eq!(asked("nobody.example").status, "NXDOMAIN");
        }
    });
}

#[test]
fn an_office_is_complete_but_for_its_resolver() {
    in_own_network("an_office_is_complete_but_for_its_resolver", &[], || {
        let office = Office::new(&["npm.example"]);
        assert_eq!(office.laptop.dig(&["A", "npm.example"]).to_string(), "NONE");

        let _resolver = NameServer::dnsmasq(&office.router, &office.public_dns.for_dnsmasq(false));

        let npm = vec![IpAddr::from(office.npm.v4()), office.npm.v6().into()];
        assert_eq!(office.laptop.look_up("npm.example"), npm);
        assert_eq!(office.laptop.dig(&["A", ZONE]).to_string(), format!("NOERROR {}", PUBLIC_ENTRY[0]));
    });
}
