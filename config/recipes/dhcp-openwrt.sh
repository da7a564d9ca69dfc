# DHCP by OpenWrt: makes the gateway the only resolver of the network; needs [dns] listen and forward there.
# Where:     a shell on the router (ssh root@192.168.1.1).
# Rebinding: nothing to do: computers ask the gateway itself.
# DNSSEC:    computers that validate by themselves need an exception for {zone} (see systemd-resolved).
# Check:     after renewing its lease, a computer has {gateways} as its only resolver, and open-registry doctor says ok.
# Undo:      uci -q del_list dhcp.lan.dhcp_option='6,{gateways4}'
# Undo:      uci -q del_list dhcp.lan.dns='{gateway6}'
# Undo:      uci commit dhcp; /etc/init.d/dnsmasq restart; /etc/init.d/odhcpd restart
uci -q del_list dhcp.lan.dhcp_option='6,{gateways4}'
uci add_list dhcp.lan.dhcp_option='6,{gateways4}'
# Without IPv6 on the gateway, computers would still hear of the router's own resolver by IPv6: announce none.
uci set dhcp.lan.dns_service='0'
uci -q del_list dhcp.lan.dns='{gateway6}'
uci add_list dhcp.lan.dns='{gateway6}'
uci commit dhcp
/etc/init.d/dnsmasq restart
/etc/init.d/odhcpd restart
