using System;
using System.Collections.Generic;
using XenDM.CommandLine;
using XenDM.Cpu;

namespace XenDM.Run;

/// <summary>A guest of the embedded machine, as <c>xendm run</c> was asked for it; complete and checked.</summary>
/// <param name="Board">What the board needs, in the form of a QEMU-style command line.</param>
/// <param name="Firmware">Path of the BIOS image.</param>
/// <param name="Icount">Guest time is a function of the instructions that ran.</param>
/// <param name="Hash">The state of the whole machine is hashed at the end.</param>
/// <param name="NoReboot">The process ends when the guest resets.</param>
internal sealed record RunOptions(QemuOptions Board, CpuModel Cpu, string Firmware, bool Icount, int Seed, bool NoReboot, bool Verbose, bool Hash)
{
    /// <summary>Port whose first write ends the process; null for none.</summary>
    public ushort? DebugExitPort { get; init; }

    /// <summary>Ports and memory for test programs.</summary>
    public bool TestDevice { get; init; }

    private static readonly string[] s_firmware = ["/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin"];

    /// <summary>Bytes of a size such as 512M or 2G; a plain number is MiB.</summary>
    /// <exception cref="UsageException">It is none, or out of range.</exception>
    public static int MemoryMiB(string text)
    {
        var digits = text.TrimEnd('K', 'k', 'M', 'm', 'G', 'g', 'i', 'B');
        if (!double.TryParse(digits, System.Globalization.CultureInfo.InvariantCulture, out var value)) throw new UsageException("--memory", $"'{text}' is no size: say for example 512M or 2G");
        var mib = text.Length == digits.Length ? value : char.ToUpperInvariant(text[digits.Length]) switch { 'K' => value / 1024, 'G' => value * 1024, _ => value };
        if (mib is < 4 or > 49152) throw new UsageException("--memory", $"'{text}' must lie between 4M and 48G");
        return (int)mib;
    }

    /// <summary>An I/O port, decimal or with 0x; the usual one when none is given.</summary>
    public static ushort Port(string option, string? text)
    {
        if (text is null) return DebugExit.DefaultPort;
        var hex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        var style = hex ? System.Globalization.NumberStyles.AllowHexSpecifier : System.Globalization.NumberStyles.None;
        if (!ushort.TryParse(hex ? text[2..] : text, style, System.Globalization.CultureInfo.InvariantCulture, out var port) || port > ushort.MaxValue - DebugExit.Bytes) throw new UsageException(option, $"'{text}' is no I/O port; write for example 0x501");
        return port;
    }

    public static CpuModel Model(string text) => text.ToLowerInvariant() switch
    {
        "v3" => CpuModel.V3,
        "v2" => CpuModel.V2,
        "v1" => CpuModel.V1,
        "i686" => CpuModel.I686,
        "486" => CpuModel.I486,
        _ => throw new UsageException("--cpu", $"'{text}' is not known; there are v3, v2, v1 (x86-64 levels), i686 and 486"),
    };

    /// <summary>The BIOS: the one that was named, or the distribution's.</summary>
    public static string FindFirmware(string? path)
    {
        if (path is not null and not "seabios") return path;
        foreach (var candidate in s_firmware)
            if (System.IO.File.Exists(candidate)) return candidate;
        throw new UsageException("--firmware", $"no BIOS found at {string.Join(" or ", s_firmware)}: install the package seabios, or give --firmware FILE");
    }

    /// <summary>A --disk as a QEMU-style drive on the next free place of the IDE channels.</summary>
    public static string Drive(string option, string spec, int index, bool cdrom)
    {
        var parts = spec.Split(',');
        var arguments = new List<string> { $"file={parts[0].Replace(",", ",,", StringComparison.Ordinal)}", "if=ide", $"index={index}", $"media={(cdrom ? "cdrom" : "disk")}" };
        var format = "raw";
        foreach (var part in parts.AsSpan(1))
        {
            if (part.StartsWith("format=", StringComparison.Ordinal)) format = part["format=".Length..];
            else if (part == "readonly") arguments.Add("readonly=on");
            else if (part == "snapshot") arguments.Add("snapshot=on");
            else throw new UsageException(option, $"'{part}' is not known; there are format=raw, readonly and snapshot");
        }

        arguments.Add($"format={format}");
        return string.Join(',', arguments);
    }
}
