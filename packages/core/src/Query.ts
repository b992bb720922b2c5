/** @since 0.1.0 */
export interface Query { readonly placeholder?: never }
