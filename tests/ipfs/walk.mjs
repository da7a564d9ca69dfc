// Walks an index with Helia, through one gateway and nothing else, and prints what it has read: for each path its CID, its length
// and the SHA-512 of its bytes. Helia hashes each block that it gets. Then it has the package `ipns` judge the gateway's record.
//
//   walk.mjs <gateway> <root> <ipns name> <path>...
import { createHash } from 'node:crypto'
import { withHTTP } from '@helia/http'
import { unixfs } from '@helia/unixfs'
import { createHeliaLight } from 'helia'
import { multihashToIPNSRoutingKey, unmarshalIPNSRecord } from 'ipns'
import { ipnsValidator } from 'ipns/validator'
import { base36 } from 'multiformats/bases/base36'
import { CID } from 'multiformats/cid'
import { sha256, sha512 } from 'multiformats/hashes/sha2'

const [gateway, root, name, ...paths] = process.argv.slice(2)
const patience = () => AbortSignal.timeout(30_000)

// With no router at all it would wait for ever; the gateway is one, too.
const helia = withHTTP(createHeliaLight({ hashers: [sha256, sha512] }), {
  delegatedRouters: [gateway],
  recursiveGateways: [gateway],
  allowInsecure: true,
  allowLocal: true
})
await helia.start()
const fs = unixfs(helia)

async function read (path) {
  const hash = createHash('sha512')
  let length = 0
  for await (const bytes of fs.cat(CID.parse(root), { path, signal: patience() })) {
    hash.update(bytes)
    length += bytes.length
  }
  const { cid } = await fs.stat(CID.parse(root), { path, signal: patience() })
  return { cid: cid.toString(), length, sha512: hash.digest('hex') }
}

const files = {}
for (const path of paths) files[path] = await read(path)

const names = []
for await (const entry of fs.ls(CID.parse(root), { signal: patience() })) names.push(entry.name)

const answer = await fetch(`${gateway}/ipns/${name}`, { headers: { accept: 'application/vnd.ipfs.ipns-record' } })
const record = new Uint8Array(await answer.arrayBuffer())
await ipnsValidator(multihashToIPNSRoutingKey(CID.parse(name, base36).multihash), record)
const { value, sequence } = unmarshalIPNSRecord(record)

console.log(JSON.stringify({ files, names: names.sort(), head: { value, sequence: Number(sequence) } }))
await helia.stop()
process.exit(0)
