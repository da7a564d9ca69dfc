# DHCP by MikroTik RouterOS: makes the gateway the only resolver of the network; needs [dns] listen and forward there.
# Where:     a terminal on the router.
# Rebinding: nothing to do: computers ask the gateway itself.
# DNSSEC:    computers that validate by themselves need an exception for {zone} (see systemd-resolved).
# Check:     after renewing its lease, a computer has {gateways} as its only resolver, and open-registry doctor says ok.
# Undo:      /ip dhcp-server network set [find] dns-server=""; /ipv6 nd set [find] advertise-dns=yes
/ip dhcp-server network set [find] dns-server={gateways4}
# Otherwise computers would still hear of the router's own resolver by IPv6.
/ipv6 nd set [find] advertise-dns=no
