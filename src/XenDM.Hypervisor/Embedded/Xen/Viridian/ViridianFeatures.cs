using System;
using System.Collections.Generic;

namespace XenDM.Hypervisor.Embedded.Xen.Viridian;

/// <summary>Parts of Microsoft's hypervisor interface, as HVM_PARAM_VIRIDIAN divides it (xen/public/hvm/params.h).</summary>
[Flags]
public enum ViridianFeatures
{
    None = 0,

    /// <summary>CPUID leaves, the hypercall page, VP index, APIC access by MSRs.</summary>
    Base = 1 << 0,

    /// <summary>The frequencies of the TSC and of the APIC's timer. (Xen's bit says that they are missing.)</summary>
    Frequencies = 1 << 1,

    /// <summary>The counter of 100 ns.</summary>
    TimeReferenceCount = 1 << 2,

    /// <summary>The page from which guests make that counter of the TSC.</summary>
    ReferenceTsc = 1 << 3,

    /// <summary>Synthetic interrupts and their messages.</summary>
    Synic = 1 << 7,

    /// <summary>Synthetic timers.</summary>
    Stimer = 1 << 8,
}

/// <summary>The words of xl.cfg's <c>viridian</c>.</summary>
public static class ViridianWords
{
    private static readonly (string Word, ViridianFeatures Features)[] s_words =
    [
        ("base", ViridianFeatures.Base), ("freq", ViridianFeatures.Frequencies), ("time_ref_count", ViridianFeatures.TimeReferenceCount), ("reference_tsc", ViridianFeatures.ReferenceTsc),
        ("synic", ViridianFeatures.Synic), ("stimer", ViridianFeatures.Stimer),
        ("defaults", ViridianFeatures.Base | ViridianFeatures.Frequencies | ViridianFeatures.TimeReferenceCount),
        ("all", ViridianFeatures.Base | ViridianFeatures.Frequencies | ViridianFeatures.TimeReferenceCount | ViridianFeatures.ReferenceTsc | ViridianFeatures.Synic | ViridianFeatures.Stimer),
    ];

    /// <summary>All of them.</summary>
    public static string All => string.Join(", ", Array.ConvertAll(s_words, static w => w.Word));

    /// <summary>Adds up words; what one needs comes with it: timers send messages and count from the counter.</summary>
    /// <param name="unknown">The first word that is none.</param>
    public static bool TryParse(IEnumerable<string> words, out ViridianFeatures features, out string unknown)
    {
        (features, unknown) = (ViridianFeatures.None, "");
        foreach (var word in words)
        {
            var index = Array.FindIndex(s_words, w => w.Word == word);
            if (index < 0)
            {
                unknown = word;
                return false;
            }

            features |= s_words[index].Features;
        }

        if ((features & ViridianFeatures.Stimer) != 0) features |= ViridianFeatures.Synic | ViridianFeatures.TimeReferenceCount;
        if (features != ViridianFeatures.None) features |= ViridianFeatures.Base;
        return true;
    }
}
