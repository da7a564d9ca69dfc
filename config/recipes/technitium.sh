# Technitium: answers for {zone} itself, with the gateway's address.
# Where:     a shell on the server, with TOKEN set to a token (Administration, Sessions, Create Token); or by hand:
#            Zones, Add Zone, Primary Zone, and its A and AAAA records.
# Rebinding: only where the app "DNS Rebinding Protection" is installed: add "{zone}" to its privateDomains.
# DNSSEC:    nothing to do: the server does not validate its own zones.
# Check:     dig +short {zone} @127.0.0.1 prints {gateways}
# Undo:      curl "http://localhost:5380/api/zones/delete?token=$TOKEN&zone={zone}"
curl "http://localhost:5380/api/zones/create?token=$TOKEN&zone={zone}&type=Primary"
curl "http://localhost:5380/api/zones/records/add?token=$TOKEN&zone={zone}&domain={zone}&type=A&ipAddress={gateway4}&ttl=30"
curl "http://localhost:5380/api/zones/records/add?token=$TOKEN&zone={zone}&domain={zone}&type=AAAA&ipAddress={gateway6}&ttl=30"
curl "http://localhost:5380/api/zones/records/add?token=$TOKEN&zone={zone}&domain=direct.{zone}&type=A&ipAddress={gateway4}&ttl=30"
curl "http://localhost:5380/api/zones/records/add?token=$TOKEN&zone={zone}&domain=direct.{zone}&type=AAAA&ipAddress={gateway6}&ttl=30"
