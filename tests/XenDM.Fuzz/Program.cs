using System;
using System.Diagnostics;
using System.Globalization;
using XenDM.Fuzz;

// XenDM.Fuzz [--steps N] [--seed N] [--minutes N] [--what board|vnc|stdvga|cirrus]: a guest that does anything, on the whole board and at each display
// adapter, and VNC clients that say anything.
long steps = 1_000_000;
var seed = 1;
var minutes = 0;
var what = "";
for (var i = 0; i + 1 < args.Length; i += 2)
{
    var value = args[i + 1];
    switch (args[i])
    {
        case "--steps": steps = long.Parse(value, CultureInfo.InvariantCulture); break;
        case "--seed": seed = int.Parse(value, CultureInfo.InvariantCulture); break;
        case "--what": what = value; break;
        case "--minutes": minutes = int.Parse(value, CultureInfo.InvariantCulture); break;
        default:
            Console.Error.WriteLine($"unknown option {args[i]}");
            return 1;
    }
}

var until = Stopwatch.StartNew();
do
{
    if (what is "" or "board" && !FuzzRun.Run(seed, steps)) return 1;
    if (what is "" or "vnc" && !VncFuzz.Run(seed, steps)) return 1;
    if (what is "" or DisplayMachine.StdVga && !DisplayFuzz.Run(seed, steps, DisplayMachine.StdVga)) return 1;
    if (what is "" or DisplayMachine.Cirrus && !DisplayFuzz.Run(seed, steps, DisplayMachine.Cirrus)) return 1;
    seed++;
}
while (until.Elapsed.TotalMinutes < minutes);
return 0;
