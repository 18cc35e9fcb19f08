// The policy that the real-RMM run writes for the gate: what docs/real-rmm.md tells an admin to write.

/** Where things are in the lab. */
export type PolicyPlaces = {
  readonly root: string
  readonly work: string
  readonly name: string
  readonly rmm: string
}

/** Text of portcullis.yaml. `countries` is the inside of the home list. */
export function gatePolicy(options: { readonly countries: string }, places: PolicyPlaces): string {
  return `version: 1
home: [${options.countries}]
model: all-traffic
profile: meshcentral
listeners:
  https: { address: '0.0.0.0:443' }
names:
  ${places.name}: { upstream: mesh }
upstreams:
  mesh: { primary: 'http://${places.rmm}:4430' }
sites:
  # MeshCentral reads its own certificate through the gate (certUrl), so its address must be known here.
  rmm-server: { name: The RMM server itself, addresses: [${places.rmm}] }
directories: { certs: '${places.work}/certs', state: '${places.work}/var' }
`
}
