# systemd-resolved: asks the gateway for {zone}; needs [dns] listen there.
# Where:     a shell, as root
# Note:      it asks the gateway beside others for other names as well, which the gateway refuses, or answers with
#            [dns] forward. A link of its own with DNS= and Domains= would not do that, but works only on the
#            gateway's own computer (see systemd/examples): questions leave by the link that names the server.
# Rebinding: nothing to do: the computer asks the gateway itself, past the router.
# DNSSEC:    a negative trust anchor; without it DNSSEC=yes makes the answer fail, for it is not what the public zones
#            above this one are signed for. Such a file takes the place of the names of private networks that are
#            built in (dnssec-trust-anchors.d(5)), so it repeats them.
# Check:     resolvectl query {zone} prints {gateways}
# Undo:      rm /etc/systemd/resolved.conf.d/open-registry.conf /etc/dnssec-trust-anchors.d/open-registry.negative
# Undo:      systemctl restart systemd-resolved
mkdir -p /etc/systemd/resolved.conf.d /etc/dnssec-trust-anchors.d
cat > /etc/systemd/resolved.conf.d/open-registry.conf <<'END'
[Resolve]
DNS={gateway}
Domains=~{zone}
END
printf '%s\n' {zone} home.arpa 10.in-addr.arpa 168.192.in-addr.arpa d.f.ip6.arpa \
    16.172.in-addr.arpa 17.172.in-addr.arpa 18.172.in-addr.arpa 19.172.in-addr.arpa 20.172.in-addr.arpa \
    21.172.in-addr.arpa 22.172.in-addr.arpa 23.172.in-addr.arpa 24.172.in-addr.arpa 25.172.in-addr.arpa \
    26.172.in-addr.arpa 27.172.in-addr.arpa 28.172.in-addr.arpa 29.172.in-addr.arpa 30.172.in-addr.arpa \
    31.172.in-addr.arpa 170.0.0.192.in-addr.arpa 171.0.0.192.in-addr.arpa ipv4only.arpa \
    corp home internal intranet lan local private test \
    > /etc/dnssec-trust-anchors.d/open-registry.negative
systemctl restart systemd-resolved
