// The one actor of its name with the empty key.
import { actor } from "rivetkit";

export default actor({ actions: { key: (c): string[] => c.key } });
