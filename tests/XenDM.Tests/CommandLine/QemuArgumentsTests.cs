using System;
using XenDM.CommandLine;
using XenDM.Machines;

namespace XenDM.Tests.CommandLine;

public class QemuArgumentsTests
{
    [Fact]
    public void TheCommandLineOfLibxl()
    {
        var options = Parse("""
            -xen-domid 7 -no-shutdown -chardev socket,id=libxl-cmd,path=/var/run/xen/qmp-libxl-7,server=on,wait=off -mon chardev=libxl-cmd,mode=control
            -chardev socket,id=libxenstat-cmd,path=/var/run/xen/qmp-libxenstat-7,server=on,wait=off -mon chardev=libxenstat-cmd,mode=control
            -nodefaults -no-user-config -name guest -vnc none -display none -kernel /boot/vmlinuz -initrd /boot/initrd -serial pty -boot order=cda -smp 2,maxcpus=4
            -net none -machine xenfv,suppress-vmdesc=on,max-ram-below-4g=3758096384 -m 1016 -drive file=/images/a.img,if=ide,index=0,media=disk,format=raw,cache=writeback
            -drive if=none,readonly=on,id=ide-5632,file=/images/cd.iso,format=raw -device ide-cd,id=ide-5632,drive=ide-5632,bus=ide.1,unit=0
            """);
        Assert.Equal((7, true, "guest", "none", 2, 4, 1016), (options.DomainId, options.NoShutdown, options.Name, options.Vnc, options.Cpus, options.MaxCpus, options.MemoryMiB));
        Assert.Equal(("xenfv", "3758096384"), (options.MachineType, options.Machine!.Get("max-ram-below-4g")));
        Assert.Equal("/var/run/xen/qmp-libxl-7", options.Chardevs[0].Get("path"));
        var drives = DriveSpec.FromOptions(options);
        Assert.Equal(("ide0-hd0", "/images/a.img", 0, 0, false), (drives[0].Id, drives[0].File, drives[0].Channel, drives[0].Unit, drives[0].IsCdrom));
        Assert.Equal(("ide-5632", "ide-5632", 1, 0, true), (drives[1].Id, drives[1].DeviceId, drives[1].Channel, drives[1].Unit, drives[1].IsCdrom));
        Catalogue.Check(options, displays: false);
    }

    [Fact]
    public void RestrictedAndRestored()
    {
        var options = Parse("-xen-domid 3 -S -xen-domid-restrict -run-with chroot=/var/run/xen/qemu-root-3 -incoming fd:42 -run-with user=993:993 -machine pc,accel=xen");
        Assert.Equal((true, true, "/var/run/xen/qemu-root-3", 42, "993:993", "pc"), (options.StartPaused, options.DomainRestrict, options.Chroot, options.IncomingFd, options.RunAs, options.MachineType));
        Assert.Equal("993:993", Parse("-xen-domid 3 -runas 993:993 -chroot /x").RunAs);
    }

    [Fact]
    public void TheProbeHasNoDomain()
    {
        var options = Parse("-S -no-user-config -nodefaults -nographic -machine none,accel=xen -chardev socket,id=libxl-cmd,fd=5,server=on,wait=off -mon chardev=libxl-cmd,mode=control");
        Assert.Equal(("none", -1), (options.MachineType, options.DomainId));
        Catalogue.Check(options, displays: false);
    }

    [Fact]
    public void ADeviceMayComeBeforeItsDrive()
    {
        var options = Parse("-device ide-hd,drive=d,bus=ide.1,unit=1 -drive if=none,id=d,file=x.img,format=raw");
        Assert.Equal((1, 1, "x.img"), (DriveSpec.FromOptions(options)[0].Channel, DriveSpec.FromOptions(options)[0].Unit, DriveSpec.FromOptions(options)[0].File));
    }

    [Theory]
    [InlineData("file=/a,,b.img,if=ide,index=0", "/a,b.img")]
    [InlineData("file=/a,b.img,if=ide,index=0", "/a,b.img")]
    [InlineData("file=/a,b=c.img,if=ide,index=0", "/a,b=c.img")]
    public void CommasInPathsSurvive(string drive, string file) => Assert.Equal(file, DriveSpec.FromOptions(QemuArguments.Parse(["-drive", drive]))[0].File);

    [Theory]
    [InlineData("-bogus", "-bogus")]
    [InlineData("-m", "-m")]
    [InlineData("-m 12Q", "-m")]
    [InlineData("-smp 0", "-smp")]
    [InlineData("-smp 4,maxcpus=2", "maxcpus")]
    [InlineData("-xen-domid abc", "domain id")]
    [InlineData("-incoming tcp:1", "-incoming")]
    [InlineData("-append x", "-kernel")]
    [InlineData("-net user -net tap", "-net")]
    [InlineData("-spice port=1", "SPICE")]
    [InlineData("-fda x.img", "floppy")]
    [InlineData("disk.img", "-drive")]
    [InlineData("-run-with nonsense=1", "nonsense")]
    public void MistakesNameTheOption(string line, string named)
    {
        var e = Assert.Throws<UsageException>(() => Parse(line));
        Assert.Contains(named, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
    }

    [Theory]
    [InlineData("-device qxl-vga", "qxl-vga")]
    [InlineData("-device pcnet,id=nic0,netdev=net0,mac=00:16:3e:00:00:01", "pcnet")]
    [InlineData("-usb", "USB")]
    [InlineData("-usbdevice tablet", "USB")]
    [InlineData("-machine q35", "q35")]
    [InlineData("-machine xenpv -device ide-cd,drive=a", "-device: a xenpv machine has no board")]
    [InlineData("-M xenpv -drive file=a.img,if=ide,index=0", "-drive: a xenpv machine has no board")]
    [InlineData("-machine xenpv -serial pty", "-serial: a xenpv machine has no board")]
    [InlineData("-machine xenpv -kernel k", "-kernel: a xenpv machine has no board")]
    [InlineData("-machine xenpv -netdev user,id=n", "-netdev: a xenpv machine has no board")]
    [InlineData("-machine xenpv -incoming fd:3", "-incoming: a xenpv machine has no state")]
    [InlineData("-xen-attach -machine xenfv", "-xen-attach: is for -machine xenpv, not xenfv")]
    [InlineData("-display sdl", "sdl")]
    [InlineData("-netdev type=vde,id=net0", "vde")]
    public void WhatIsNotBuiltIsRefusedByName(string line, string named) =>
        Assert.Contains(named, Assert.Throws<UsageException>(() => Catalogue.Check(Parse(line), displays: false)).Message, StringComparison.Ordinal);

    /// <summary>As libxl starts the backends of a PV or PVH guest in dom0, and as it starts them in a driver domain (xl devd).</summary>
    [Theory]
    [InlineData("-xen-domid 5 -no-shutdown -chardev socket,id=libxl-cmd,path=/run/x,server=on,wait=off -mon chardev=libxl-cmd,mode=control -nodefaults -no-user-config -xen-attach -name g -vnc none -display none -nographic -machine xenpv -m 144")]
    [InlineData("-xen-domid 5 -xen-attach -name domain-5 -nographic -M xenpv -monitor /dev/null -serial /dev/null -parallel /dev/null")]
    public void BackendsOfAPvGuestAreAMachine(string line)
    {
        var options = Parse(line);
        Catalogue.Check(options, displays: false);
        Assert.Equal("xenpv", options.MachineType);
        Assert.True(options.XenAttach);
        Assert.Equal(5, options.DomainId);
    }

    [Theory]
    [InlineData("-drive file=a.img,if=scsi", "scsi")]
    [InlineData("-drive if=ide,index=0", "file")]
    [InlineData("-drive file=a,if=ide,index=9", "index")]
    [InlineData("-drive file=a,if=ide,index=0 -drive file=b,if=ide,index=0", "taken")]
    [InlineData("-drive if=none,id=x,file=a", "x")]
    [InlineData("-device ide-cd,drive=nope", "nope")]
    [InlineData("-drive file=a,if=ide,index=0,readonly=on", "read-only")]
    [InlineData("-drive file=a,if=ide,index=0,cache=odd", "odd")]
    public void WrongDrivesAreNamed(string line, string named) =>
        Assert.Contains(named, Assert.Throws<UsageException>(() => DriveSpec.FromOptions(Parse(line))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("-device VGA", 16)]
    [InlineData("-vga std", 16)]
    [InlineData("-device VGA,vgamem_mb=64,id=video", 64)]
    [InlineData("-device cirrus-vga", 4)]
    [InlineData("-device cirrus-vga,vgamem_mb=8", 8)]
    [InlineData("-vga cirrus", 4)]
    public void ADisplayAdapterIsAskedForLikeThis(string line, int mib)
    {
        var options = Parse(line);
        Catalogue.Check(options, displays: true);
        Assert.Equal(mib, DisplaySpec.FromOptions(options)!.MemoryMiB);
    }

    [Theory]
    [InlineData("-device VGA -vga std", "one display")]
    [InlineData("-device VGA,vgamem_mb=3", "vgamem_mb")]
    [InlineData("-device VGA,vgamem_mb=512", "vgamem_mb")]
    [InlineData("-device VGA,nonsense=1", "nonsense")]
    [InlineData("-device VGA -vga cirrus", "one display")]
    [InlineData("-device cirrus-vga,vgamem_mb=2", "vgamem_mb")]
    [InlineData("-device cirrus-vga,vgamem_mb=32", "vgamem_mb")]
    [InlineData("-vga tseng", "tseng")]
    public void WrongDisplaysAreNamed(string line, string named) =>
        Assert.Contains(named, Assert.Throws<UsageException>(() => DisplaySpec.FromOptions(Parse(line))).Message, StringComparison.Ordinal);

    private static QemuOptions Parse(string line) => QemuArguments.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
}
