# systemd-resolved: asks the gateway for {zone}; needs [dns] listen there.
# Where:     a shell, as root
# Note:      it asks the gateway beside others for other names as well, which the gateway refuses, or answers with
#            [dns] forward. A link of its own with DNS= and Domains= would not do that, but works only on the
#            gateway's own computer (see systemd/examples): questions leave by the link that names the server.
# Rebinding: nothing to do: the computer asks the gateway itself, past the router.
# DNSSEC:    a negative trust anchor; without it DNSSEC=yes makes the answer fail, for it is not what the public zones
#            above this one are signed for.
# Check:     resolvectl query {zone} prints {gateways}
# Undo:      rm /etc/systemd/resolved.conf.d/open-registry.conf /etc/dnssec-trust-anchors.d/open-registry.negative
# Undo:      systemctl restart systemd-resolved
mkdir -p /etc/systemd/resolved.conf.d /etc/dnssec-trust-anchors.d
cat > /etc/systemd/resolved.conf.d/open-registry.conf <<'END'
[Resolve]
DNS={gateway}
Domains=~{zone}
END
cat > /etc/dnssec-trust-anchors.d/open-registry.negative <<'END'
{zone}
END
systemctl restart systemd-resolved
