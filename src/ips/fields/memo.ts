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
 * @param namesOf the names by which a value can be asked for
 */
export function membersNamed(
  inspected: Inspected,
  family: string,
  name: string,
  read: () => readonly FieldValue[],
  namesOf: (value: FieldValue) => readonly string[],
): readonly FieldValue[] {
  const { members } = memoOf(inspected)
  let byName = members.get(family)
  if (byName === undefined) {
    const groups = new Map<string, FieldValue[]>()
    for (const value of remembered(inspected, family, read)) {
      for (const key of namesOf(value)) {
        const group = groups.get(key)
        if (group === undefined) groups.set(key, [value])
        else group.push(value)
      }
    }
    byName = groups
    members.set(family, byName)
  }
  return byName.get(name) ?? NONE
}
