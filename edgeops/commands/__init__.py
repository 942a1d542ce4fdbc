"""One file a verb: flags, one call, console.

VERBS is what ``--help`` lists, so that it imports no verb: name -> (module:function, first line).
A test holds the lines against the docstrings.
"""

VERBS: dict[str, tuple[str, str]] = {
    "init": ("init:init", "Lay down a project that runs."),
    "run": ("run:run", "Bring the pipeline up to date through DVC."),
    "report": ("report:report", "Say what changed and whether it may ship."),
    "inspect": ("inspect:inspect", "Show what is inside a model, variant or bundle."),
    "check": ("check:check", "Say whether a model can be converted; write nothing."),
    "convert": ("convert:convert", "Convert a model for an engine and prove it equal."),
    "quantize": ("quantize:quantize", "Make an int8 variant within an accuracy budget."),
    "validate": ("validate:validate", "Measure a variant on its device and judge the gates."),
    "bench": ("bench:bench", "Measure latency with intervals; compare two variants in pairs."),
    "pack": ("pack:pack", "Pack variants and their evidence into one bundle."),
    "verify": ("verify:verify", "Check a bundle's digests, signature and evidence."),
    "unpack": ("unpack:unpack", "Take files out of a bundle or a published repository."),
    "publish": ("publish:publish", "Add a release to a repository and move its channel."),
    "promote": (
        "promote:promote",
        "Offer a release to more devices, or on another channel.",
    ),
    "withdraw": (
        "withdraw:withdraw",
        "Take a release out of all channels; devices fall back.",
    ),
    "renew": ("renew:renew", "Sign a repository's timestamp again before devices refuse it."),
    "agent": ("agent:app", "Update, serve and roll back a device."),
    "keys": ("keys:app", "Make and rotate signing keys and the root of trust."),
    "diff": ("diff:diff", "Compare two variants, bundles or revisions."),
    "targets": ("targets:targets", "List the targets of the project."),
    "plugins": ("plugins:plugins", "List the plugins and what is wrong with broken ones."),
    "doctor": ("doctor:doctor", "Say what this machine has and what is missing."),
    "env": ("env:app", "Make, list and remove the environments that plugins need."),
    "schema": ("schema:schema", "Print the JSON Schema of edgeops.yaml."),
    "explain": ("explain:explain", "Explain an error code and how to mend it."),
    "stage": ("stage:stage", "Run one stage now, as DVC does."),
}
