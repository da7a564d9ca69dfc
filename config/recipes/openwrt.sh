# OpenWrt: the router's dnsmasq answers for {zone} itself, with the gateway's address.
# Where:     a shell on the router (ssh root@192.168.1.1), line by line or as a whole; a second time does no harm.
# Rebinding: nothing to do: rebind protection looks at other servers' answers, and this one is dnsmasq's own.
# DNSSEC:    nothing to do: dnsmasq validates other servers' answers only.
# Check:     nslookup {zone} 127.0.0.1 prints {gateways}
# Undo:      uci -q del_list dhcp.@dnsmasq[0].address='/{zone}/{gateway4}'
# Undo:      uci -q del_list dhcp.@dnsmasq[0].address='/{zone}/{gateway6}'
# Undo:      uci -q del_list dhcp.@dnsmasq[0].server='/{zone}/'
# Undo:      uci commit dhcp; /etc/init.d/dnsmasq restart
uci -q del_list dhcp.@dnsmasq[0].address='/{zone}/{gateway4}'
uci -q del_list dhcp.@dnsmasq[0].address='/{zone}/{gateway6}'
uci add_list dhcp.@dnsmasq[0].address='/{zone}/{gateway4}'
uci add_list dhcp.@dnsmasq[0].address='/{zone}/{gateway6}'
# Without these lines, other types (AAAA where there is no IPv6) would be asked of the Internet.
uci -q del_list dhcp.@dnsmasq[0].server='/{zone}/'
uci add_list dhcp.@dnsmasq[0].server='/{zone}/'
uci commit dhcp
/etc/init.d/dnsmasq restart
