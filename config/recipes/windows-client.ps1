# Windows, one computer: asks the gateway for {zone}, and others for all else; needs [dns] listen there.
# Where:     PowerShell as administrator, on the computer; for many, the same rule as a group policy (Name Resolution Policy).
# Rebinding: nothing to do: the computer asks the gateway itself, past the router.
# DNSSEC:    nothing to do: the rule does not ask for validation.
# Check:     Resolve-DnsName {zone}
# Undo:      Get-DnsClientNrptRule | Where-Object Comment -eq 'open-registry' | Remove-DnsClientNrptRule -Force
Add-DnsClientNrptRule -Namespace '{zone}','.{zone}' -NameServers {gateways} -Comment 'open-registry'
Clear-DnsClientCache
