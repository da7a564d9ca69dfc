# MikroTik RouterOS 7: the router asks the gateway for {zone}; needs [dns] listen there.
# Where:     a terminal on the router, or WinBox: IP, DNS, Static.
# Rebinding: nothing to do: RouterOS lets private addresses through.
# DNSSEC:    nothing to do: RouterOS does not validate.
# Check:     :put [:resolve {zone}]
# Undo:      /ip dns static remove [find comment="open-registry"]
/ip dns static add name={zone} type=FWD forward-to={gateway4} match-subdomain=yes comment="open-registry"
/ip dns static add name={zone} type=FWD forward-to={gateway6} match-subdomain=yes comment="open-registry"
/ip dns cache flush
