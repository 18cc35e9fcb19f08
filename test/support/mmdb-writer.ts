// Writes small MaxMind DB files for tests: any record shape, type, build date and record size. Format: MaxMind DB 2.0.
import { parseCidr } from '../../src/net/cidr.ts'

/** A value that a record may hold. */
export type MmdbValue =
  string | number | boolean | readonly MmdbValue[] | { readonly [name: string]: MmdbValue }

/** What to write. */
export type MmdbOptions = {
  readonly type: string
  readonly builtMs: number
  readonly ipVersion?: 4 | 6
  readonly recordSize?: 24 | 28 | 32
  /** Network and record; later entries replace earlier ones where they overlap. */
  readonly entries: readonly (readonly [string, MmdbValue])[]
}

type Leaf = { readonly data: number }
type Node = { left: Node | Leaf | null; right: Node | Leaf | null }

/** Builds the bytes of a database. */
export function writeMmdb(options: MmdbOptions): Buffer {
  const { ipVersion = 6, recordSize = 24 } = options
  const root: Node = { left: null, right: null }
  const data: Buffer[] = []
  let dataBytes = 0
  for (const [network, value] of options.entries) {
    insert(root, bitsOf(network, ipVersion), { data: dataBytes })
    const encoded = encode(value)
    data.push(encoded)
    dataBytes += encoded.length
  }
  const nodes: Node[] = []
  number(root, nodes)
  const index = new Map(nodes.map((node, at) => [node, at]))
  const tree = Buffer.alloc((nodes.length * recordSize) / 4)
  const valueOf = (record: Node | Leaf | null): number => {
    if (record === null) return nodes.length
    return 'data' in record ? nodes.length + 16 + record.data : (index.get(record) ?? 0)
  }
  for (const [at, node] of nodes.entries())
    writeNode(tree, at, recordSize, valueOf(node.left), valueOf(node.right))
  const metadata = encode({
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: Math.floor(options.builtMs / 1000),
    database_type: options.type,
    description: { en: 'made by a test' },
    ip_version: ipVersion,
    languages: ['en'],
    node_count: nodes.length,
    record_size: recordSize,
  })
  return Buffer.concat([
    tree,
    Buffer.alloc(16),
    ...data,
    Buffer.from('abcdef4d61784d696e642e636f6d', 'hex'),
    metadata,
  ])
}

/**
 * A database that a gate accepts: the addresses that all databases know, and the rest of IPv4 in one country.
 * @param shape makes the record of a country
 */
export function worldMmdb(
  type: string,
  builtMs: number,
  shape: (code: string) => MmdbValue,
  more: {
    rest?: string
    entries?: MmdbOptions['entries']
    ipVersion?: 4 | 6
    recordSize?: 24 | 28 | 32
  } = {},
): Buffer {
  return writeMmdb({
    type,
    builtMs,
    ...(more.ipVersion === undefined ? {} : { ipVersion: more.ipVersion }),
    ...(more.recordSize === undefined ? {} : { recordSize: more.recordSize }),
    entries: [
      ['0.0.0.0/1', shape(more.rest ?? 'US')],
      ['128.0.0.0/1', shape(more.rest ?? 'US')],
      ['81.2.69.0/24', shape('GB')],
      ['89.160.20.0/24', shape('SE')],
      ['216.160.83.0/24', shape('US')],
      ['111.235.160.0/20', shape('CN')],
      ...(more.entries ?? []),
    ],
  })
}

function bitsOf(network: string, ipVersion: 4 | 6): number[] {
  const cidr = parseCidr(network)
  if (typeof cidr === 'string') throw new Error(`${network}: ${cidr}`)
  const bits = cidr.address.words.flatMap(word =>
    Array.from({ length: 32 }, (_, at) => (word >>> (31 - at)) & 1),
  )
  const prefix = bits.slice(0, cidr.prefix)
  return cidr.address.family === 4 && ipVersion === 6
    ? [...Array.from({ length: 96 }, () => 0), ...prefix]
    : prefix
}

function insert(root: Node, bits: readonly number[], leaf: Leaf): void {
  let node = root
  for (const bit of bits.slice(0, -1)) {
    const side = bit === 1 ? 'right' : 'left'
    const next = node[side]
    if (next !== null && !('data' in next)) node = next
    else {
      const made: Node = { left: next, right: next }
      node[side] = made
      node = made
    }
  }
  node[bits.at(-1) === 1 ? 'right' : 'left'] = leaf
}

function number(node: Node, nodes: Node[]): void {
  nodes.push(node)
  for (const side of [node.left, node.right]) if (side !== null && !('data' in side)) number(side, nodes)
}

function writeNode(tree: Buffer, at: number, recordSize: 24 | 28 | 32, left: number, right: number): void {
  const offset = (at * recordSize) / 4
  if (recordSize === 32) {
    tree.writeUInt32BE(left, offset)
    tree.writeUInt32BE(right, offset + 4)
    return
  }
  tree.writeUIntBE(left & 0xffffff, offset, 3)
  if (recordSize === 24) tree.writeUIntBE(right, offset + 3, 3)
  else {
    tree[offset + 3] = ((left >>> 24) << 4) | (right >>> 24)
    tree.writeUIntBE(right & 0xffffff, offset + 4, 3)
  }
}

function encode(value: MmdbValue): Buffer {
  if (typeof value === 'string') {
    const text = Buffer.from(value)
    return Buffer.concat([control(2, text.length), text])
  }
  if (typeof value === 'boolean') return control(14, value ? 1 : 0)
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return Buffer.concat([control(6, 4), bytes])
  }
  if (isList(value)) return Buffer.concat([control(11, value.length), ...value.map(encode)])
  const entries = Object.entries(value)
  return Buffer.concat([
    control(7, entries.length),
    ...entries.flatMap(([name, inner]) => [encode(name), encode(inner)]),
  ])
}

function isList(value: MmdbValue): value is readonly MmdbValue[] {
  return Array.isArray(value)
}

function control(type: number, size: number): Buffer {
  const extended = type > 7 ? [type - 7] : []
  const high = type > 7 ? 0 : type << 5
  if (size < 29) return Buffer.from([high | size, ...extended])
  if (size < 285) return Buffer.from([high | 29, ...extended, size - 29])
  return Buffer.from([high | 30, ...extended, (size - 285) >>> 8, (size - 285) & 255])
}
