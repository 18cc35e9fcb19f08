// How much of a request is taken apart: every parser's limits on size, count and depth, in one table.

/** Limits of the parsers. What is beyond a limit is kept as one value, so that rules see it, and recorded as a problem. */
export type InspectionLimits = {
  /** Codings undone one after the other (`Content-Encoding: gzip, br`). */
  readonly codingLayers: number
  /** Bytes that one body, or one compressed value in it, may become. */
  readonly inflatedBytes: number
  /** Bytes out per byte in; below `ratioFreeBytes` of output nobody counts. */
  readonly inflateRatio: number
  readonly ratioFreeBytes: number
  /** Parameters of a query or form that are split. */
  readonly formParameters: number
  /** Cookies that are split. */
  readonly cookies: number
  /** Parts of a multipart body, nested ones included. */
  readonly multipartParts: number
  readonly multipartHeaderBytes: number
  readonly multipartHeaders: number
  readonly multipartDepth: number
  /** Boundaries that are tried when a request names several. */
  readonly multipartBoundaries: number
  /** Bytes of an uploaded file that rules see. */
  readonly fileHeadBytes: number
  readonly jsonDepth: number
  /** Leaves (and empty containers) of a JSON document. */
  readonly jsonLeaves: number
  /** Bytes of the path of a leaf before its own key: a long key above many leaves must not be copied for each. */
  readonly jsonPathBytes: number
  readonly xmlDepth: number
  /** Elements, attributes, comments and instructions together. */
  readonly xmlNodes: number
  readonly xmlDoctypeBytes: number
  /** Entries of one zip archive that are read. */
  readonly zipEntries: number
  /** Bytes of the name of an entry. */
  readonly zipNameBytes: number
  /** Bytes out per byte in over a whole archive, by what its directory claims; small archives are left alone. */
  readonly zipRatio: number
  readonly zipFreeBytes: number
  /** Shortest text that may pass for base64 by its look alone. */
  readonly base64Shortest: number
  /** Characters of base64 that are decoded for one request, both layers together. */
  readonly base64Total: number
  /** Values that are decoded from base64 for one request. */
  readonly base64Values: number
  readonly base64Layers: number
}

/**
 * The limits in force. They follow what servers take by themselves: ASP.NET reads 1,000 form keys and JSON to a depth of 32 to
 * 100; a body held for rules has 128 KB, and compressed ones may grow to eight times that.
 */
export const INSPECTION_LIMITS: InspectionLimits = {
  codingLayers: 3,
  inflatedBytes: 1_048_576,
  inflateRatio: 100,
  ratioFreeBytes: 65_536,
  formParameters: 1_000,
  cookies: 200,
  multipartParts: 1_000,
  multipartHeaderBytes: 8_192,
  multipartHeaders: 32,
  multipartDepth: 3,
  multipartBoundaries: 4,
  fileHeadBytes: 4_096,
  jsonDepth: 64,
  jsonLeaves: 10_000,
  jsonPathBytes: 1_024,
  xmlDepth: 128,
  xmlNodes: 20_000,
  xmlDoctypeBytes: 16_384,
  zipEntries: 4_096,
  zipNameBytes: 4_096,
  zipRatio: 100,
  zipFreeBytes: 16_777_216,
  base64Shortest: 16,
  base64Total: 2_097_152,
  base64Values: 10_000,
  base64Layers: 2,
}
