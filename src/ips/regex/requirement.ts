// What a value must contain before a pattern can match in it: short sequences of character classes without loops.

/** Characters that may stand at one place, as a sorted list of closed ranges of UTF-16 code units. */
export type CharSet = readonly (readonly [first: number, last: number])[]

/** Character sets that must stand one after another. */
export type Sequence = readonly CharSet[]

/** At least one of the sequences occurs in every value that matches. Never empty, and no sequence is empty. */
export type Requirement = readonly Sequence[]
