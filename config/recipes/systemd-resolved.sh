# systemd-resolved: asks the gateway for {zone}, and others for all else; needs [dns] listen there.
# Where:     a shell, as root, on a computer whose network is kept by systemd-networkd.
# Rebinding: nothing to do: the computer asks the gateway itself, past the router.
# DNSSEC:    DNSSEC=no on the link, so that answers about this zone are not validated, and all others are as before.
# Check:     resolvectl query {zone} prints {gateways}
# Undo:      rm /etc/systemd/network/50-openreg0.*; networkctl delete openreg0
cat > /etc/systemd/network/50-openreg0.netdev <<'END'
[NetDev]
Name=openreg0
Kind=dummy
END
cat > /etc/systemd/network/50-openreg0.network <<'END'
[Match]
Name=openreg0
[Network]
LinkLocalAddressing=no
# A link without an address does not count as one through which a resolver can be asked.
Address=192.0.2.53/32
DNS={gateway}
Domains=~{zone}
DNSDefaultRoute=no
DNSSEC=no
DNSOverTLS=no
LLMNR=no
MulticastDNS=no
[Link]
RequiredForOnline=no
END
networkctl reload
