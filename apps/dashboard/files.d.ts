/**
 * The folder of the built dashboard: what `Gateway.layer({ dashboard: files })` serves.
 *
 * @since 0.2.0
 */
export declare const files: string
