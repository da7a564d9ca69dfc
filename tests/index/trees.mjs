// Prints what trees of the index have to come to, by the JavaScript implementation of UnixFS: CIDs and sizes.
// resolver/tests/index.rs makes the same content by the same rules and compares. `tests/index/install` brings what is imported.
import { murmur364 } from '@multiformats/murmur3'
import { MemoryBlockstore } from 'blockstore-core/memory'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { CID } from 'multiformats/cid'
import { sha256, sha512 } from 'multiformats/hashes/sha2'
import { createHash } from 'node:crypto'

const RAW = 0x55
const text = new TextEncoder()

/** Of an async iterable, the last: what the importer yields at the end is the root. */
async function last (source) {
  let last
  for await (const one of source) last = one
  return { cid: last.cid, size: last.size }
}

/** A file by the profile, or cut otherwise. */
function file (content, shape) {
  const cut = shape && { chunker: fixedSize({ chunkSize: shape.leaf }), layout: balanced({ maxChildrenPerNode: shape.width }) }
  return last(importer([{ content }], new MemoryBlockstore(), { profile: 'unixfs-v1-2025', ...cut }))
}

/** A directory of what has a CID already; `always` sharded, or by the profile's rule. */
function directory (entries, always) {
  const ready = async function * () {
    for (const [path, { cid, size }] of entries) yield async () => ({ path, originalPath: path, cid, size })
  }
  const options = { profile: 'unixfs-v1-2025', wrapWithDirectory: true, dagBuilder: () => ready() }
  if (always) options.shardSplitThresholdBytes = 0
  return last(importer([], new MemoryBlockstore(), options))
}

/** A document says in its name what is in it: the SHA-256 of that, in hexadecimal, so many times. */
function content (name, times) {
  return text.encode(createHash('sha256').update(name).digest('hex').repeat(times))
}

/** A tarball is one raw block by its SHA-512, as npm gives it; above 1 MiB, a file as any other. */
async function tarball (bytes) {
  if (bytes.length > 1 << 20) return file(bytes)
  return { cid: CID.createV1(RAW, await sha512.digest(bytes)), size: BigInt(bytes.length) }
}

/** Every fifth package is in one of eleven scopes. */
function nameOf (nth) {
  return nth % 5 === 3 ? `@scope${nth % 11}/name${nth}` : `name${nth}`
}

/** Two documents, and up to two tarballs; one package has 5,000, and one a document and a tarball of more than 1 MiB. */
async function packageOf (nth, name) {
  const entries = new Map()
  const last = name.split('/').at(-1)
  const put = async (path, made) => entries.set(path, await made)
  await put('metadata.json', file(content(`${name} metadata`, nth === 0 ? 50_000 : 1 + nth % 7)))
  await put('install.json', file(content(`${name} install`, 1)))
  const tarballs = nth === 1 ? 5_000 : nth % 3
  for (let version = 0; version < tarballs; version++) {
    await put(`${last}-1.0.${version}.tgz`, tarball(content(`${name} ${version}`, 1 + version % 3)))
  }
  if (nth === 0) await put(`${last}-2.0.0.tgz`, tarball(content(`${name} 2.0.0`, 16_385)))
  return directory(entries, false)
}

async function tree (count) {
  const top = new Map()
  const scopes = new Map()
  for (let nth = 0; nth < count; nth++) {
    const name = nameOf(nth)
    const made = await packageOf(nth, name)
    if (!name.startsWith('@')) {
      top.set(name, made)
      continue
    }
    const [scope, rest] = name.split('/')
    if (!scopes.has(scope)) scopes.set(scope, new Map())
    scopes.get(scope).set(rest, made)
  }
  for (const [scope, packages] of scopes) top.set(scope, await directory(packages, true))
  const federation = new Map([['peers.json', await file(content('peers', 1))], ['state.json', await file(content('state', 1))]])
  top.set('.federation', await directory(federation, false))
  return directory(top, true)
}

function say ({ cid, size }) {
  return { cid: cid.toString(), size: Number(size) }
}

const said = { trees: {}, files: [], hashes: [] }
for (const names of [1, 300, 20_000]) said.trees[names] = say(await tree(names))
// Around the ends of a leaf and of a level.
for (const [leaf, width] of [[1 << 20, 1024], [8, 1024], [8, 4]]) {
  const ends = leaf === 8 ? [width, width + 1, width * width, width * width + 1].filter((n) => n < 5_000) : [1, 2]
  for (const leaves of ends) {
    for (const length of [leaves * leaf - 1, leaves * leaf, leaves * leaf + 1]) {
      const bytes = content('file', Math.ceil(length / 64)).subarray(0, length)
      said.files.push({ leaf, width, length, ...say(await file(bytes, { leaf, width })) })
    }
  }
}
// Every length of the tail of a block, twice.
for (let length = 0; length <= 48; length++) {
  const hash = await murmur364.encode(content('hash', 1).subarray(0, length))
  said.hashes.push(Buffer.from(hash).toString('hex'))
}
process.stdout.write(`${JSON.stringify(said, null, 1)}\n`)
