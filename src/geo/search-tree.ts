// Checks the search tree of a MaxMind DB: every record must lead somewhere that exists. Format: MaxMind DB 2.0 specification.
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Bytes that start the metadata: the last occurrence in the file counts. */
const METADATA_MARKER = Buffer.from('abcdef4d61784d696e642e636f6d', 'hex')
/** The metadata section is at most this long, marker included. */
const METADATA_MAX_BYTES = 131_072
/** Zero bytes between the search tree and the data section. */
const SEPARATOR_BYTES = 16
/** Nodes looked at before other work gets its turn: about a millisecond. */
const NODES_PER_TURN = 100_000

/** The figures of the metadata that place the tree. */
export type TreeShape = {
  readonly nodeCount: number
  readonly recordSize: number
  readonly searchTreeSize: number
}

/** Where the metadata starts (marker included); undefined when the file has none, as every truncated file. */
export function findMetadata(bytes: Buffer): number | undefined {
  const at = bytes.lastIndexOf(METADATA_MARKER)
  return at < 0 || at < bytes.length - METADATA_MAX_BYTES ? undefined : at
}

/**
 * Walks all nodes, in turns, so that live traffic is not held up.
 * @returns what is wrong, or undefined
 */
export async function treeProblem(
  bytes: Buffer,
  shape: TreeShape,
  metadataAt: number,
): Promise<string | undefined> {
  const { nodeCount, recordSize, searchTreeSize } = shape
  if (!Number.isSafeInteger(nodeCount) || nodeCount < 1) return `its node count is ${String(nodeCount)}`
  const dataBytes = metadataAt - searchTreeSize - SEPARATOR_BYTES
  if (dataBytes < 1) return 'it is shorter than its own search tree'
  for (let at = searchTreeSize; at < searchTreeSize + SEPARATOR_BYTES; at++) {
    if (bytes[at] !== 0) return 'the section after its search tree is damaged'
  }
  const end = nodeCount + SEPARATOR_BYTES + dataBytes
  for (let from = 0; from < nodeCount; from += NODES_PER_TURN) {
    const bad = scan(bytes, from, Math.min(nodeCount, from + NODES_PER_TURN), recordSize, nodeCount, end)
    if (bad !== undefined) return `node ${bad} of its search tree is damaged (of ${nodeCount})`
    await nextTurn()
  }
  return undefined
}

function scan(
  bytes: Buffer,
  from: number,
  to: number,
  recordSize: number,
  nodeCount: number,
  end: number,
): number | undefined {
  const nodeBytes = recordSize / 4
  for (let node = from; node < to; node++) {
    const at = node * nodeBytes
    let left: number
    let right: number
    if (recordSize === 24) {
      left = bytes.readUIntBE(at, 3)
      right = bytes.readUIntBE(at + 3, 3)
    } else if (recordSize === 28) {
      const middle = bytes[at + 3] ?? 0
      left = (middle >>> 4) * 0x1000000 + bytes.readUIntBE(at, 3)
      right = (middle & 15) * 0x1000000 + bytes.readUIntBE(at + 4, 3)
    } else {
      left = bytes.readUInt32BE(at)
      right = bytes.readUInt32BE(at + 4)
    }
    // Nothing leads back to the root: a zero record is a hole that a copy has not filled yet.
    if (!leads(left, nodeCount, end) || !leads(right, nodeCount, end)) return node
  }
  return undefined
}

function leads(record: number, nodeCount: number, end: number): boolean {
  if (record <= nodeCount) return record !== 0
  return record >= nodeCount + SEPARATOR_BYTES && record < end
}
