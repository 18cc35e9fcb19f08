// Shapes of values that change a statement, one letter per token, and shapes that are plain text.

/*
 * Letters: s string, t string that is only its opening quote at the end of the value, 1 number or null/true/false,
 * v variable, w name, g call of an unknown function, f call of an SQL function, F call that waits, reads files or fails on
 * purpose, q subquery or condition in parentheses, e comparison of values in parentheses, p one of names, x text in parentheses, o operator, = comparison, & logical operator,
 * U union, S select, K beginning of a statement (`drop table`), G of a clause (`order by`), W `waitfor delay`, B from/where/limit/having,
 * c comment to the end, C the same with next to nothing in it, `.` the end.
 */

const join = (...shapes: readonly string[]): RegExp => new RegExp(shapes.join('|'))

const ANY = '[s1vwgfFqetp]'
/** An expression after the first operand: what SQL allows before it comes to the point. */
const CHAIN = `(?:[o=&,]${ANY})*`

/** Clauses may stand between the operand and the point. */
const CLAUSES = `(?:[GB]${ANY}?${CHAIN}){0,3}`
const COLUMNS = `[s1vgfFqto]`

/** The value began within quotes and has left them: what follows needs little to be an attack. */
const QUOTED = join(
  `^s${CHAIN}&${ANY}=${ANY}`,
  `^s${CHAIN}&(?:[1vse]|f)[.cC;]`,
  `^s${CHAIN}&[ep]`,
  `^sUo?So?[1svf]`,
  `^s${CHAIN}&[wg][cC]`,
  `^s${CHAIN}&${ANY}o[st][.cC]`,
  `^s${CHAIN}[o=&,][Fq]`,
  `^s[Fq]`,
  `^so[1vfe]os`,
  `^so[1vfe]=`,
  `^so[fv]`,
  `^s${CHAIN}C`,
  `^s;(?:[KSC]|[fF])`,
  `^sS(?:${COLUMNS}|\\.)`,
  `^s${CHAIN}K`,
  `^s${CHAIN}(?:;[fFw]?)?W`,
  `^s${CHAIN}&S[1svfF]`,
  `^s${CHAIN}G[1wvfqF]`,
  `^s${CHAIN}B(?:[1q]|[wfg]=)`,
  `^s${CHAIN}${CLAUSES}U(?:S[s1vwgfFqeto.cC]|q)`,
)

/** Left the quotes, and returned to them at once: markup and JSON look like this as well. */
const QUOTED_WEAK = join(`^s=[s1t][.cC;&]`, `^s(?:[o=&]|&w=)t`)

/** The value stands where a number or a name would. */
const BARE = join(
  `^[1vfgFqe]${CHAIN}&(?:[s1vgfFqet]=${ANY}|w=[s1vgfFqet])`,
  `^[1vfFqe]${CHAIN}&[1vse][cC;]`,
  `^[1vfFqe]${CHAIN}&e`,
  `^w&[1v]=[1v]`,
  `^ws?&s=[st]`,
  `^[1vwgfqe]${CHAIN}[o=&,][Fq]`,
  `^s${CHAIN}[o=&,]F`,
  `^F[.cCo=&,;]`,
  `^[1vf]F`,
  `^[vF][cC]`,
  `^[1vwgfqe]${CHAIN};(?:K|S${COLUMNS}|Sw[,B])`,
  `^[1vfqe]${CHAIN};[fF]`,
  `^[1vfqe]${CHAIN}K`,
  `^[1vfqe]${CHAIN}G[1vfqF]`,
  `^[1vfqe]${CHAIN}${CLAUSES}B1=1`,
  `^[1vwgfqes]${CHAIN}${CLAUSES}U(?:S${COLUMNS}|Sw{1,2}[,B.cC1of]|q)`,
  `^[1vfqes]${CHAIN}${CLAUSES}US[.cC]`,
  `^U(?:S${COLUMNS}|q)`,
  `^${ANY}?${CHAIN}(?:;[fFw]?)?W`,
  `^&(?:[1sv]=[1sv]|f=|e)`,
  `^[1vf]${CHAIN}&S[1svfF]`,
  `^[1vf]${CHAIN}${CLAUSES}Bw=`,
  `^q[.cCo=&,;]`,
  `^S${ANY}?(?:[o,]${ANY})*${COLUMNS}(?:[o,]${ANY})*[,o]?[B]`,
  `^S(?:[s1vw],?)*[vF][.cC,B]`,
  `^f(?:&f)+[.cC]`,
)

/** With a comment that only a database would read, any piece of a statement is enough. */
const CONDITIONAL = /[US=&F]/

/** Still possible: an operand, then operators and operands in turn. Anything else is prose, markup or code. */
const POSSIBLE = join(
  `^o?${ANY}?${CHAIN}[o=&,]?o?$`,
  `^${ANY}?(?:[o=&,]${ANY})*(?:;[fFw]?|;?[KS].*)?$`,
  `^${ANY}?${CHAIN}[UKGB].{0,24}$`,
  `^[SU].{0,24}$`,
  `^&[1svfe]?=?$`,
  '^[&=,;]$',
  `^w?s?&?.?=?.?$`,
  `^[eqxp]${CHAIN}[o=&,]?$`,
)

/** What a shape is: an attack, possibly one, certainly no SQL, or open until more is read. */
export type Evidence = 'attack' | 'weak' | 'text' | 'open'

/**
 * Judges a shape.
 * @param quoted the value began within quotes
 * @param conditional a comment of it is read by some databases only
 */
export function evidenceOf(shape: string, quoted: boolean, conditional: boolean): Evidence {
  if ((quoted ? QUOTED : BARE).test(shape)) return 'attack'
  if (conditional && CONDITIONAL.test(shape)) return 'attack'
  if (quoted && QUOTED_WEAK.test(shape)) return 'weak'
  return POSSIBLE.test(shape) && shape.length <= MAX_SHAPE ? 'open' : 'text'
}

const MAX_SHAPE = 48
