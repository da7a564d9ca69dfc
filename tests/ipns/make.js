// Prints fixtures.json: records and a CAR that the packages of the JavaScript implementation of IPFS make of fixed values. ed25519
// has no chance in it, so they are always the same.
import { CarReader, CarWriter } from '@ipld/car'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { createIPNSRecordWithExpiration, marshalIPNSRecord, multihashToIPNSRoutingKey } from 'ipns'
import { ipnsValidator } from 'ipns/validator'
import { base36 } from 'multiformats/bases/base36'
import { CID } from 'multiformats/cid'
import { sha256, sha512 } from 'multiformats/hashes/sha2'

const base64 = bytes => Buffer.from(bytes).toString('base64')
const seed = new Uint8Array(32).fill(7)
const key = await generateKeyPairFromSeed('Ed25519', seed)
const value = '/ipfs/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi'
const sequence = 1_795_341_540_123
const validity = '2126-11-22T09:59:00.000000001Z'
const ttlNs = 60_000_000_000n

async function record (v1Compatible) {
  const record = await createIPNSRecordWithExpiration(key, value, sequence, validity, { ttlNs, v1Compatible })
  const bytes = marshalIPNSRecord(record)
  // Accepted by the same package, as it would be if it came from elsewhere.
  await ipnsValidator(multihashToIPNSRoutingKey(key.publicKey.toMultihash()), bytes)
  return base64(bytes)
}

async function car () {
  const text = new TextEncoder()
  const raw = async (hasher, word) => {
    const bytes = text.encode(word)
    return { cid: CID.createV1(0x55, await hasher.digest(bytes)), bytes }
  }
  const directory = new Uint8Array([0x0a, 0x02, 0x08, 0x01])
  const root = CID.createV1(0x70, await sha256.digest(directory))
  const blocks = [{ cid: root, bytes: directory }, await raw(sha256, 'one'), await raw(sha512, 'two')]
  const { writer, out } = CarWriter.create([root])
  const parts = []
  const collect = (async () => { for await (const part of out) parts.push(part) })()
  for (const block of blocks) await writer.put(block)
  await writer.close()
  await collect
  const bytes = Buffer.concat(parts)
  const reader = await CarReader.fromBytes(bytes)
  for await (const { cid, bytes } of reader.blocks()) {
    const block = blocks.shift()
    if (!cid.equals(block.cid) || Buffer.compare(bytes, block.bytes) !== 0) throw new Error(`${cid} was not read back`)
  }
  return base64(bytes)
}

console.log(JSON.stringify({
  seed: Buffer.from(seed).toString('hex'),
  name: key.publicKey.toCID().toString(base36),
  peer: key.publicKey.toString(),
  value,
  sequence,
  validity,
  ttl: Number(ttlNs),
  record: await record(false),
  old_record: await record(true),
  car: await car()
}, null, 2))
