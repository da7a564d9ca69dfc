# Windows DNS Server: asks the gateway for {zone}; needs [dns] listen there.
# Where:     PowerShell as administrator, on each DNS server; with Active Directory add -ReplicationScope Forest, once.
# Rebinding: nothing to do: Windows DNS Server lets private addresses through.
# DNSSEC:    nothing to do unless trust anchors were added: it validates only below those.
# Check:     Resolve-DnsName {zone} -Server localhost
# Undo:      Remove-DnsServerZone -Name {zone} -Force
Add-DnsServerConditionalForwarderZone -Name {zone} -MasterServers {gateways}
