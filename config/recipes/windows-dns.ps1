# Windows DNS Server: answers for {zone} itself, with the gateway's address.
# Where:     PowerShell as administrator, on the DNS server. With Active Directory, instead of -ZoneFile:
#            -ReplicationScope Forest, and then on one server only.
# Rebinding: nothing to do: Windows DNS Server lets private addresses through.
# DNSSEC:    nothing to do: the server does not validate its own zones.
# Check:     Resolve-DnsName {zone} -Server localhost
# Undo:      Remove-DnsServerZone -Name {zone} -Force
Add-DnsServerPrimaryZone -Name {zone} -ZoneFile {zone}.dns -DynamicUpdate None
Add-DnsServerResourceRecord -ZoneName {zone} -A -Name '@' -IPv4Address {gateway4} -TimeToLive 00:00:30
Add-DnsServerResourceRecord -ZoneName {zone} -AAAA -Name '@' -IPv6Address {gateway6} -TimeToLive 00:00:30
Add-DnsServerResourceRecord -ZoneName {zone} -A -Name direct -IPv4Address {gateway4} -TimeToLive 00:00:30
Add-DnsServerResourceRecord -ZoneName {zone} -AAAA -Name direct -IPv6Address {gateway6} -TimeToLive 00:00:30
