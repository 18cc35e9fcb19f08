// Every file that is generated from the schemas, by its path in the repository. `portcullis generate` writes them; a test compares.
import { jsonSchemaFiles } from './json-schema.ts'
import { policyReference } from './reference.ts'

/** Generated files: path from the root of the repository, and content. */
export function generatedFiles(): readonly { readonly path: string; readonly content: string }[] {
  return [
    ...jsonSchemaFiles().map(({ name, content }) => ({ path: `policies/schema/${name}`, content })),
    { path: 'docs/policy-reference.md', content: policyReference() },
  ]
}
