//! The gateway as a network's only resolver: other names are looked up for that network, and for nobody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use harness::lan::{Host, NameServer, Office, ZONE};
use harness::{Gateway, GatewayBuilder, in_own_network};

const NPM: &str = "npm.example";

/// A gateway that makes no requests of its own here, and answers DNS at every address of `host`.
fn gateway(host: &Host, resolvers: &[IpAddr]) -> Gateway {
    let resolvers: Vec<String> = resolvers.iter().map(|resolver| format!("\"{resolver}\"")).collect();
    let toml =
        format!("[dns]\nlisten = [\"0.0.0.0:53\", \"[::]:53\"]\nforward = [{}]\n", resolvers.join(", "));
    let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let everywhere = everywhere.map(|ip| SocketAddr::new(ip, 80));
    // A registry that is not there: nobody asks for packages.
    let builder = Gateway::builder().upstream("http://127.0.0.1:9").config_toml(&toml);
    let builder = everywhere.into_iter().fold(builder, GatewayBuilder::listen);
    host.run(|| builder.start())
}

fn forwarded(gateway: &Gateway) -> f64 {
    gateway.metric("open_registry_dns_queries_total", &[("outcome", "forwarded")])
}

fn refused(gateway: &Gateway) -> f64 {
    gateway.metric("open_registry_dns_queries_total", &[("outcome", "refused")])
}

#[test]
fn a_lan_gets_all_its_names_from_the_gateway_alone() {
    in_own_network("a_lan_gets_all_its_names_from_the_gateway_alone", &[], || {
        let office = Office::new(&[NPM]);
        let _router = NameServer::dnsmasq(&office.router, &office.public_dns.for_dnsmasq(false));
        let _gateway = gateway(&office.server, &[office.router.v4().into()]);
        // As DHCP would say.
        office.laptop.use_name_servers(&[office.server.v4().into()]);

        let npm: Vec<IpAddr> = vec![office.npm.v4().into(), office.npm.v6().into()];
        assert_eq!(office.laptop.look_up(NPM), npm);
        let own: Vec<IpAddr> = vec![office.server.v4().into(), office.server.v6().into()];
        assert_eq!(office.laptop.look_up(ZONE), own);
        assert_eq!(office.laptop.dig(&["A", "nobody.example"]).status, "NXDOMAIN");
        assert_eq!(
            office.laptop.dig(&["+tcp", "A", NPM]).to_string(),
            format!("NOERROR {}", office.npm.v4())
        );
        office.laptop.use_name_servers(&[office.server.v6().into()]);
        assert_eq!(office.laptop.look_up(NPM), npm, "by IPv6 as well");
        assert_eq!(office.laptop.look_up(ZONE), own);
    });
}

#[test]
fn a_resolver_that_has_died_costs_a_lan_nothing_but_a_moment() {
    in_own_network("a_resolver_that_has_died_costs_a_lan_nothing_but_a_moment", &[], || {
        let office = Office::new(&[NPM]);
        let _router = NameServer::dnsmasq(&office.router, &office.public_dns.for_dnsmasq(false));
        let nobody = office.laptop.v4().into();
        let _gateway = gateway(&office.server, &[nobody, office.router.v4().into()]);
        office.laptop.use_name_servers(&[office.server.v4().into()]);
        assert_eq!(office.laptop.dig(&["A", NPM]).to_string(), format!("NOERROR {}", office.npm.v4()));

        office.router.on(&office.internet).cut();
        assert_eq!(office.laptop.dig(&["+time=10", "A", "other.example"]).status, "SERVFAIL");
        assert_eq!(office.laptop.dig(&["A", ZONE]).to_string(), format!("NOERROR {}", office.server.v4()));
    });
}

#[test]
fn a_stranger_is_refused_whatever_address_he_writes_on_his_question() {
    in_own_network("a_stranger_is_refused_whatever_address_he_writes_on_his_question", &[], || {
        let office = Office::new(&[NPM]);
        let stranger = office.internet.host("stranger");
        // The gateway is on the router itself, with one foot outside.
        let gateway = gateway(&office.router, &[office.public_dns.address()]);
        let (outside, inside) = (office.router.on(&office.internet), office.router.v4());
        let at = |address: IpAddr| format!("@{address}");
        assert_eq!(
            office.laptop.dig(&[&at(inside.into()), "A", NPM]).to_string(),
            format!("NOERROR {}", office.npm.v4())
        );
        let before = (forwarded(&gateway), refused(&gateway));

        for address in [IpAddr::from(outside.v4), outside.v6.into()] {
            assert_eq!(stranger.dig(&[&at(address), "A", NPM]).status, "REFUSED");
            assert_eq!(stranger.dig(&[&at(address), "+tcp", "A", NPM]).status, "REFUSED");
        }
        assert_eq!(refused(&gateway), before.1 + 4.0);

        // A neighbour's address on a packet that comes from outside, to either of the router's addresses.
        let lan = format!("{inside}/24");
        stranger.output("ip", &["address", "add", "192.168.7.66/32", "dev", "lo"]).expect_success();
        stranger
            .output("ip", &["route", "add", &lan.replace(".1/", ".0/"), "via", &outside.v4.to_string()])
            .expect_success();
        for address in [IpAddr::from(outside.v4), inside.into()] {
            // The answer, if there is one, goes to the LAN.
            stranger.dig(&[&at(address), "-b", "192.168.7.66", "+tries=1", "A", NPM]);
        }
        assert_eq!(refused(&gateway), before.1 + 6.0, "the forged questions came in");
        // By connection nothing can be forged, but a stranger may have a private address, and a route may lead there.
        let own = "10.99.0.5";
        stranger.output("ip", &["address", "add", &format!("{own}/32"), "dev", "lo"]).expect_success();
        let there = stranger.v4().to_string();
        office.router.output("ip", &["route", "add", own, "via", &there]).expect_success();
        for address in [IpAddr::from(outside.v4), inside.into()] {
            assert_eq!(
                stranger.dig(&[&at(address), "-b", own, "+tcp", "A", NPM]).status,
                "REFUSED",
                "{address}"
            );
        }
        assert_eq!(forwarded(&gateway), before.0, "and gained nothing");
        assert_eq!(
            office.laptop.dig(&[&at(inside.into()), "+tcp", "A", NPM]).to_string(),
            format!("NOERROR {}", office.npm.v4())
        );
        assert_eq!(
            stranger.dig(&[&at(outside.v4.into()), "A", ZONE]).to_string(),
            format!("NOERROR {}", outside.v4)
        );
    });
}
