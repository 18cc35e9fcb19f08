// Makes shortlists of compiled rules: with what their conditions and fields cannot do without.
import type { CompiledRule } from './compiled-rule.ts'
import type { Engine } from './engine/engine.ts'
import { Shortlist } from './engine/shortlist.ts'
import type { Candidates } from './path-index.ts'
import { ALWAYS, type SourceBits } from './sources.ts'

/** The shortlists of the phases in which a request is judged. */
export type Shortlists = Readonly<Record<'head' | 'body', Shortlist>>

/** Shortlists of rules in their order. @param numberOf the number of a rule in the engine */
export function shortlistsOf(
  { head, body }: Pick<Candidates, 'head' | 'body'>,
  engine: Engine,
  bits: SourceBits,
  numberOf: (rule: CompiledRule) => number,
): Shortlists {
  const listOf = (rules: readonly CompiledRule[]): Shortlist => {
    const sources = new Map(
      rules.flatMap(({ condition }) =>
        condition.fields.map(({ collection, source }) => [collection.id, bits.of(source)] as const),
      ),
    )
    return new Shortlist(engine.plan, rules.map(numberOf), {
      ofRules: rules.map(({ condition }) => condition.needs),
      ofCollection: id => sources.get(id) ?? ALWAYS,
    })
  }
  return { head: listOf(head), body: listOf(body) }
}
