// JSON Schemas of the policy files, for completion and checks in editors.
import { z } from 'zod'
import { connectorFile } from './schema-connector.ts'
import { policyFile } from './schema.ts'
import { profileFile } from './schema-profile.ts'
import { ruleFile } from './schema-rules.ts'
import { streamProfileFile } from './schema-streams.ts'

/** Every generated schema file: name in policies/schema/ and content. */
export function jsonSchemaFiles(): readonly { readonly name: string; readonly content: string }[] {
  return [
    { name: 'portcullis.schema.json', content: render(policyFile, 'Portcullis policy') },
    { name: 'profile.schema.json', content: render(profileFile, 'Portcullis RMM profile') },
    { name: 'stream-profile.schema.json', content: render(streamProfileFile, 'Portcullis stream profile') },
    { name: 'connector.schema.json', content: render(connectorFile, 'Portcullis connector') },
    { name: 'rules.schema.json', content: render(ruleFile, 'Portcullis rule pack') },
  ]
}

function render(schema: z.ZodType, title: string): string {
  const json = z.toJSONSchema(schema, { io: 'input', target: 'draft-7' })
  return `${JSON.stringify({ title, ...json }, null, 2)}\n`
}
