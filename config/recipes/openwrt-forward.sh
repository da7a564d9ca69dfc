# OpenWrt: the router's dnsmasq asks the gateway for {zone}; needs [dns] listen there.
# Where:     a shell on the router (ssh root@192.168.1.1), line by line or as a whole; a second time does no harm.
# Rebinding: rebind_domain lets a private address through; OpenWrt's rebind protection is on by default.
# DNSSEC:    nothing to do: dnsmasq does not validate what a server for one domain says.
# Check:     nslookup {zone} 127.0.0.1 prints {gateways}
# Undo:      uci -q del_list dhcp.@dnsmasq[0].server='/{zone}/{gateway}'
# Undo:      uci -q del_list dhcp.@dnsmasq[0].rebind_domain='{zone}'
# Undo:      uci commit dhcp; /etc/init.d/dnsmasq restart
uci -q del_list dhcp.@dnsmasq[0].server='/{zone}/{gateway}'
uci add_list dhcp.@dnsmasq[0].server='/{zone}/{gateway}'
uci -q del_list dhcp.@dnsmasq[0].rebind_domain='{zone}'
uci add_list dhcp.@dnsmasq[0].rebind_domain='{zone}'
uci commit dhcp
/etc/init.d/dnsmasq restart
