using System.Collections.Generic;
using XenDM.CommandLine;

namespace XenDM.Machines;

/// <summary>One drive of the board, as the command line asks for it.</summary>
/// <param name="Id">Name of the drive (block device) in QMP.</param>
/// <param name="DeviceId">Name of the chip's device in QMP; empty for drives without <c>-device</c>.</param>
/// <param name="File">The image, or null for an empty CD drive.</param>
/// <param name="Channel">IDE channel 0 or 1.</param>
/// <param name="Unit">0 master, 1 slave.</param>
/// <param name="WriteCache">The guest sees a write cache that FLUSH empties.</param>
public sealed record DriveSpec(string Id, string DeviceId, string? File, string Format, bool ReadOnly, bool IsCdrom, int Channel, int Unit, bool WriteCache, string Serial)
{
    /// <summary>Where no place was asked for: the next free one.</summary>
    private const int Anywhere = -1;

    /// <summary>What the disk calls itself.</summary>
    public string Model { get; init; } = "XenDM HARDDISK";

    /// <summary>Of the disk's firmware.</summary>
    public string Revision { get; init; } = "1.0";

    /// <summary>What the guest writes goes to a temporary file and is forgotten at the end.</summary>
    public bool IsSnapshot { get; init; }

    /// <summary>The same image is there as a PV disk too, for guests with drivers for it.</summary>
    public bool HasPvTwin { get; init; }

    /// <summary>The disk is refused to the guest while it uses the PV twin.</summary>
    public bool IsStrict { get; init; }

    /// <summary>Pairs <c>-drive</c> with <c>-device ide-*</c>, which may stand before or after it.</summary>
    /// <exception cref="UsageException">A drive is wrong, given twice, or used by no device.</exception>
    public static List<DriveSpec> FromOptions(QemuOptions options)
    {
        var unused = new Dictionary<string, OptionList>();
        var specs = new List<DriveSpec>();
        foreach (var drive in options.Drives)
        {
            var kind = drive.Get("if") ?? "ide";
            if (kind == "none")
            {
                var id = drive.Require("id");
                if (!unused.TryAdd(id, drive)) throw new UsageException("-drive", $"id={id} is given twice");
            }
            else if (kind == "ide") specs.Add(IdeDrive(drive));
            else if (kind != "pflash" || !options.IsQTest) throw new UsageException("-drive", $"if={kind} is not built; known are ide and none");
        }

        foreach (var device in options.Devices)
        {
            var driver = device.Get("driver");
            if (driver is not ("ide-cd" or "ide-hd")) continue;
            specs.Add(IdeDevice(device, driver == "ide-cd", unused));
        }

        if (!options.IsQTest)
            foreach (var id in unused.Keys) throw new UsageException("-drive", $"no -device uses the drive id={id}");
        Place(specs);
        for (var i = 0; i < specs.Count; i++) specs[i] = WithGlobals(specs[i], options);
        for (var i = 0; i < specs.Count; i++)
            for (var j = 0; j < i; j++)
            {
                if (specs[i].Channel == specs[j].Channel && specs[i].Unit == specs[j].Unit)
                    throw new UsageException("-drive", $"IDE channel {specs[i].Channel} unit {specs[i].Unit} is taken by both {specs[j].Id} and {specs[i].Id}");
                if (specs[i].Id == specs[j].Id) throw new UsageException("-drive", $"id={specs[i].Id} is given twice");
            }

        return specs;
    }

    private static DriveSpec IdeDrive(OptionList drive)
    {
        var bus = (int)drive.GetNumber("bus", Anywhere, 0, 1);
        var index = (int)drive.GetNumber("index", -1, 0, 3);
        var unit = (int)drive.GetNumber("unit", Anywhere, 0, 1);
        if (index >= 0) (bus, unit) = (index / 2, index % 2);
        var media = drive.Get("media") ?? "disk";
        if (media is not ("disk" or "cdrom")) throw new UsageException("-drive", $"media={media} must be disk or cdrom");
        var cdrom = media == "cdrom";
        if (!cdrom && drive.Get("file") is null) throw new UsageException("-drive", "'file=' is missing");
        var readOnly = drive.GetBool("readonly", cdrom);
        if (readOnly && !cdrom) throw new UsageException("-drive", $"file={drive.Get("file")}: an IDE disk cannot be read-only; use media=cdrom");
        return Make(drive, drive.Get("id") ?? "", "", cdrom, bus, unit, readOnly);
    }

    private static DriveSpec IdeDevice(OptionList device, bool cdrom, Dictionary<string, OptionList> drives)
    {
        device.AllowOnly("driver", "id", "drive", "bus", "unit", "bootindex", "serial", "model", "wwn", "ver", "write-cache");
        var option = $"-device {device.Get("driver")}";
        var id = device.Get("drive");
        if (id is null && !cdrom) throw new UsageException(option, "'drive=' is missing");
        var drive = OptionList.Parse("-drive", "");
        if (id is not null && !drives.Remove(id, out drive!)) throw new UsageException(option, $"there is no -drive with id={id}, or another device uses it");
        var bus = device.Get("bus");
        if (bus is not (null or "ide.0" or "ide.1")) throw new UsageException(option, $"bus={bus} must be ide.0 or ide.1");
        var readOnly = drive.GetBool("readonly", cdrom);
        if (readOnly && !cdrom) throw new UsageException(option, $"drive={id}: an IDE disk cannot be read-only; use ide-cd");
        if (!cdrom && drive.Get("file") is null) throw new UsageException("-drive", $"id={id}: 'file=' is missing");
        var spec = Make(drive, id ?? device.Get("id") ?? "", device.Get("id") ?? "", cdrom, bus is null ? Anywhere : bus[^1] - '0', (int)device.GetNumber("unit", Anywhere, 0, 1), readOnly);
        return spec with { Serial = device.Get("serial") ?? "", Model = device.Get("model") ?? spec.Model, Revision = device.Get("ver") ?? spec.Revision };
    }

    /// <summary>Drives that say where they are go there; then the others take what is left, in their order.</summary>
    private static void Place(List<DriveSpec> specs)
    {
        for (var i = 0; i < specs.Count; i++)
        {
            var spec = specs[i];
            for (var place = 0; place < 4 && (spec.Channel == Anywhere || spec.Unit == Anywhere); place++)
            {
                var (channel, unit) = (place / 2, place % 2);
                if ((specs[i].Channel is Anywhere || specs[i].Channel == channel) && (specs[i].Unit is Anywhere || specs[i].Unit == unit) && !specs.Exists(s => s.Channel == channel && s.Unit == unit))
                    spec = spec with { Channel = channel, Unit = unit };
            }

            if (spec.Channel == Anywhere || spec.Unit == Anywhere) throw new UsageException("-drive", $"{spec.File}: the IDE channels have four places, and those that would do are taken");
            specs[i] = spec.Id.Length > 0 ? spec : spec with { Id = $"ide{spec.Channel}-{(spec.IsCdrom ? "cd" : "hd")}{spec.Unit}" };
        }
    }

    /// <summary>What -global says counts where -device says nothing.</summary>
    private static DriveSpec WithGlobals(DriveSpec spec, QemuOptions options)
    {
        if (spec.Serial.Length == 0 && options.Globals.TryGetValue(spec.IsCdrom ? "ide-cd.serial" : "ide-hd.serial", out var serial)) spec = spec with { Serial = serial };
        if (options.Globals.TryGetValue("ide-hd.model", out var model)) spec = spec with { Model = model };
        return options.Globals.TryGetValue("ide-hd.ver", out var revision) ? spec with { Revision = revision } : spec;
    }

    private static DriveSpec Make(OptionList drive, string id, string deviceId, bool cdrom, int channel, int unit, bool readOnly)
    {
        var cache = drive.Get("cache") ?? "writeback";
        if (cache is not ("writeback" or "none" or "writethrough" or "unsafe" or "directsync")) throw new UsageException("-drive", $"cache={cache} is not known");
        return new DriveSpec(id, deviceId, drive.Get("file"), drive.Get("format") ?? drive.Get("driver") ?? "raw", readOnly || cdrom, cdrom, channel, unit,
            cache is not ("writethrough" or "directsync"), drive.Get("serial") ?? "")
        { IsSnapshot = !cdrom && drive.GetBool("snapshot", false) };
    }
}
