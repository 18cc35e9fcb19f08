// Remembers what was read from a request, so that `args`, `args.id` and `args.names` take it apart once.
import type { Inspected } from '../parts/inspected.ts'
import type { FieldValue } from '../rule.ts'
import { NONE } from './value.ts'

type Memo = {
  readonly families: Map<string, readonly FieldValue[]>
  readonly members: Map<string, ReadonlyMap<string, readonly FieldValue[]>>
}

function memoOf(inspected: Inspected): Memo {
  let memo = inspected.memo as Memo | null
  if (memo === null) {
    memo = { families: new Map(), members: new Map() }
    inspected.memo = memo
  }
  return memo
}

/** The values of a family, read once per request and phase. */
export function remembered(
  inspected: Inspected,
  family: string,
  read: () => readonly FieldValue[],
): readonly FieldValue[] {
  const { families } = memoOf(inspected)
  let values = families.get(family)
  if (values === undefined) {
    values = read()
    families.set(family, values)
  }
  return values
}

/**
 * The members of a family that have a name.
 * @param keysOf the names by which a value of some name can be asked for
 */
export function membersNamed(
  inspected: Inspected,
  family: string,
  name: string,
  read: () => readonly FieldValue[],
  keysOf: (name: string) => readonly string[],
): readonly FieldValue[] {
  const { members } = memoOf(inspected)
  let byKey = members.get(family)
  if (byKey === undefined) {
    byKey = grouped(remembered(inspected, family, read), keysOf)
    members.set(family, byKey)
  }
  return byKey.get(name) ?? NONE
}

/** Groups of values by each of their keys; keys are worked out once per name. */
function grouped(
  values: readonly FieldValue[],
  keysOf: (name: string) => readonly string[],
): ReadonlyMap<string, readonly FieldValue[]> {
  const byKey = new Map<string, FieldValue[]>()
  const byName = new Map<string, readonly FieldValue[][]>()
  for (const value of values) {
    let groups = byName.get(value.name)
    if (groups === undefined) {
      groups = keysOf(value.name).map(key => {
        const group = byKey.get(key) ?? []
        byKey.set(key, group)
        return group
      })
      byName.set(value.name, groups)
    }
    for (const group of groups) group.push(value)
  }
  return byKey
}
