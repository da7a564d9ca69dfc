# NetworkManager: asks the gateway for {zone}, and others for all else; needs [dns] listen there.
# Where:     a shell, as root, on a computer with dns=systemd-resolved or dns=dnsmasq in NetworkManager.conf.
# Rebinding: nothing to do: the computer asks the gateway itself, past the router.
# DNSSEC:    with systemd-resolved and DNSSEC=yes take the recipe systemd-resolved; otherwise nothing to do.
# Check:     resolvectl query {zone} prints {gateways}; with dns=dnsmasq: getent hosts {zone}
# Undo:      nmcli connection delete open-registry
nmcli connection add type dummy ifname openreg0 con-name open-registry ipv4.method manual ipv4.addresses 192.0.2.53/32 ipv6.method disabled
nmcli connection modify open-registry ipv4.never-default yes ipv4.dns-search '~{zone}'
nmcli connection modify open-registry +ipv4.dns {gateway4}
nmcli connection modify open-registry ipv6.method manual ipv6.addresses 2001:db8::53/128 ipv6.never-default yes ipv6.dns-search '~{zone}' +ipv6.dns {gateway6}
nmcli connection up open-registry
