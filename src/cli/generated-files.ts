// The files that are derived from the code: JSON Schemas, the policy reference, the list of events, the list of reasons.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { generatedFiles as schemaFiles } from '../config/generate.ts'
import { eventsDocument } from '../journal/events-document.ts'
import { REASON_NAMES, REASONS } from '../policy/reasons.ts'

/** A derived file and what must be in it. */
export type GeneratedFile = { readonly path: string; readonly text: string }

/** Every derived file of the checkout at `root`. */
export function generatedFiles(root: string): readonly GeneratedFile[] {
  const troubleshooting = 'docs/troubleshooting.md'
  return [
    ...schemaFiles().map(({ path, content }) => ({ path, text: content })),
    { path: 'docs/events.md', text: eventsDocument() },
    {
      path: troubleshooting,
      text: readFileSync(join(root, troubleshooting), 'utf8').replace(
        /<!-- reasons:start -->.*<!-- reasons:end -->/s,
        `<!-- reasons:start -->\n\n${reasonList()}\n<!-- reasons:end -->`,
      ),
    },
  ]
}

function reasonList(): string {
  return REASON_NAMES.map(name => {
    const { because, remedy } = REASONS[name]
    return `### ${name}\n\nRefused because ${because}. ${remedy}\n`
  }).join('\n')
}
